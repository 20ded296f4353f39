package allocate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
)

var (
	errNegative   = errors.New("is negative; use 0 or more")
	errNoTotal    = errors.New("is a percentage, and spec.replicas is not set; set spec.replicas or use a number")
	errNoPercent  = errors.New("is no percentage; use a number, or an integer percentage such as \"30%\"")
	errOutOfRange = errors.New("is not between 0% and 100%; use a percentage in that range, or a number")
)

// None is the total of a spec without replicas.
const None int32 = -1

// Parse resolves a number or percentage of total. Percentages are integers and round to the nearest, halves up
// (WL-5.4). A total of None admits numbers only.
func Parse(total int32, v intstr.IntOrString) (int32, error) {
	if v.Type == intstr.Int {
		if v.IntVal < 0 {
			return 0, fmt.Errorf("%d %w", v.IntVal, errNegative)
		}
		return v.IntVal, nil
	}
	digits, isPercent := strings.CutSuffix(v.StrVal, "%")
	if !isPercent || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%q %w", v.StrVal, errNoPercent)
	}
	percent, err := strconv.Atoi(digits)
	if err != nil || percent > 100 {
		return 0, fmt.Errorf("%q %w", v.StrVal, errOutOfRange)
	}
	if total < 0 {
		return 0, fmt.Errorf("%q %w", v.StrVal, errNoTotal)
	}
	return int32((int64(total)*int64(percent) + 50) / 100), nil
}
