package webhooktest

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

func TestAsk(t *testing.T) {
	h := webhook.Validator(func(_ context.Context, r webhook.Request[*corev1.Pod]) error {
		if r.Old == nil || r.New != nil || r.Namespace != "a" {
			return errors.New("what was asked arrived otherwise")
		}
		return apierrors.NewForbidden(corev1.Resource("pods"), r.Name, errors.New("no"))
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}
	if got := Ask(t, h, "DELETE", pod, nil); got.Allowed || got.Result.Code != 403 || !strings.Contains(got.Result.Message, `"b"`) {
		t.Errorf("%+v", got)
	}
}
