package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "build [PROGRAM...]",
		Short: "Build the programs into the cache and print their paths (default: all)",
		Long:  "Build the programs into the cache and print their paths.\nPrograms: " + strings.Join(binaries.Names(), ", "),
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				names = binaries.Names()
			}
			set, err := binaries.Ensure(cmd.Context(), cmd.ErrOrStderr(), names...)
			if err != nil {
				return err
			}
			for _, name := range names {
				fmt.Fprintln(cmd.OutOrStdout(), set[name])
			}
			return nil
		},
	}
}
