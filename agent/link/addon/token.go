package addon

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OCM-19.4
const (
	conditionInfrastructure = "TokenInfrastructureReady" // the hub's word that there is a service account
	conditionRefreshed      = "TokenRefreshed"
	reasonRefreshed         = "AddonTokenRefreshed"
	reasonNotRefreshed      = "TokenCreationFailed"

	tokenThreshold = 0.2
)

// accountUID is the UID of the service account that the hub made for the add-on; empty means that it has not yet. OCM-19.4
func accountUID(conditions []metav1.Condition) string {
	const before, after = "(UID: ", ")"
	ready := meta.FindStatusCondition(conditions, conditionInfrastructure)
	if ready == nil || ready.Status != metav1.ConditionTrue {
		return ""
	}
	_, rest, _ := strings.Cut(ready.Message, before)
	uid, _, closed := strings.Cut(rest, after)
	if !closed {
		return ""
	}
	return uid
}

// claims are what a token says of itself. It is read, not verified: the hub does that.
type claims struct {
	Expires int64 `json:"exp"`
	Issued  int64 `json:"iat"`
	Holder  struct {
		Account struct {
			UID string `json:"uid"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// readToken never puts the token into its error.
func readToken(token []byte) (claims, error) {
	var c claims
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		return c, errors.New("token is no JSON web token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(payload, &c) != nil || c.Expires == 0 || c.Issued == 0 {
		return c, errors.New("token does not say how long it lives")
	}
	return c, nil
}

// tokenDue says why a new token is needed; an empty string means it is not. OCM-19.4
func tokenDue(token []byte, account string, now time.Time) string {
	if len(token) == 0 {
		return "there is no token"
	}
	c, err := readToken(token)
	if err != nil {
		return err.Error()
	}
	if c.Holder.Account.UID != account {
		return "the token is of another service account"
	}
	life, left := c.Expires-c.Issued, c.Expires-now.Unix()
	if life <= 0 || float64(left) <= tokenThreshold*float64(life) {
		return fmt.Sprintf("%s of its life is left", time.Duration(max(left, 0))*time.Second)
	}
	return ""
}
