// Package cmd is how our binaries start: parse flags, set up logs, validate everything at once, run until a signal.
package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Version is set when a release is linked.
var Version = "dev"

// Options are those of one binary.
type Options interface {
	// Bind adds the flags.
	Bind(*pflag.FlagSet)
	// Validate lists everything that is wrong.
	Validate() []error
}

// Main runs a binary and returns its exit code: 0 when it was asked to stop, 1 when it failed, 2 for wrong usage.
func Main(name, about string, o Options, run func(context.Context) error) int {
	wrong := false
	logging := logsapi.NewLoggingConfiguration()
	gates := featuregate.NewFeatureGate()
	if err := logsapi.AddFeatureGates(gates); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	c := &cobra.Command{
		Use: name, Short: about, Args: cobra.NoArgs, Version: version(), SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := check(o); err != nil {
				wrong = true
				return err
			}
			if err := logsapi.ValidateAndApply(logging, gates); err != nil {
				wrong = true
				return err
			}
			ctrl.SetLogger(klog.Background())
			defer klog.Flush()
			klog.Background().Info("starting", "binary", name, "version", version())
			return run(c.Context())
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		wrong = true
		return err
	})
	o.Bind(c.Flags())
	logsapi.AddFlags(logging, c.Flags())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := c.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	if wrong {
		return 2
	}
	return 1
}

// check collects all that Validate finds.
func check(o Options) error {
	var all *multierror.Error
	return multierror.Append(all, o.Validate()...).ErrorOrNil()
}

func version() string {
	if Version != "dev" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return Version
}

// Choose tells which of the known controllers a --controllers flag wants: "*" is all, "-name" takes one away.
func Choose(known []string, wanted []string) (map[string]bool, []error) {
	is := make(map[string]bool, len(known))
	for _, name := range known {
		is[name] = true
	}
	chosen := map[string]bool{}
	var problems []error
	for _, word := range wanted {
		name, away := word, false
		if len(word) > 1 && word[0] == '-' {
			name, away = word[1:], true
		}
		switch {
		case word == "*":
			for _, name := range known {
				chosen[name] = true
			}
		case !is[name]:
			problems = append(problems, fmt.Errorf("--controllers=%s: there is no such controller; choose from %v or *", word, known))
		case away:
			delete(chosen, name)
		default:
			chosen[name] = true
		}
	}
	return chosen, problems
}
