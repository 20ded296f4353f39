package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// diary is all that a watcher saw of the story's pods, in the order in which the API server made it. An outage of the API
// server leaves a gap, in which nobody could write either.
type diary struct {
	mu    sync.Mutex
	pages []page
}

// page is a pod as it became; gone when it was deleted. What a look found out came to be at some time before, and the pages of
// one look in any order.
type page struct {
	pod        *corev1.Pod
	gone, late bool
}

// keepDiary begins one; it ends with the story.
func (w *world) keepDiary() *diary {
	w.Helper()
	d := &diary{}
	version, err := d.look(w.Context(), w.east, w.ns)
	if err != nil {
		w.Fatal(err)
	}
	go func() {
		for w.Context().Err() == nil {
			d.follow(w.Context(), w.east, w.ns, version)
			select {
			case <-w.Context().Done():
			case <-time.After(200 * time.Millisecond):
			}
			if seen, err := d.look(w.Context(), w.east, w.ns); err == nil {
				version = seen
			}
		}
	}()
	return d
}

// look writes down what there is and what is no more.
func (d *diary) look(ctx context.Context, c client.Client, namespace string) (version string, err error) {
	var list corev1.PodList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return "", err
	}
	missing := d.present()
	var pages []page
	for _, p := range list.Items {
		delete(missing, p.UID)
		pages = append(pages, page{pod: &p, late: true})
	}
	for _, p := range missing {
		pages = append(pages, page{pod: p, gone: true, late: true})
	}
	d.write(pages...)
	return list.ResourceVersion, nil
}

func (d *diary) follow(ctx context.Context, c client.WithWatch, namespace, version string) {
	events, err := c.Watch(ctx, &corev1.PodList{}, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
	if err != nil {
		return
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		if p, ok := e.Object.(*corev1.Pod); ok {
			d.write(page{pod: p, gone: e.Type == watch.Deleted})
		}
	}
}

func (d *diary) write(pages ...page) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pages = append(d.pages, pages...)
}

// retell goes through the diary: after each page it hands over the pods that there were then, and the page.
func (d *diary) retell(tell func(now map[types.UID]*corev1.Pod, last page)) {
	d.mu.Lock()
	pages := slices.Clone(d.pages)
	d.mu.Unlock()
	now := map[types.UID]*corev1.Pod{}
	for _, p := range pages {
		if p.gone {
			delete(now, p.pod.UID)
		} else {
			now[p.pod.UID] = p.pod
		}
		tell(now, p)
	}
}

// present are the pods after the last page.
func (d *diary) present() map[types.UID]*corev1.Pod {
	all := map[types.UID]*corev1.Pod{}
	d.retell(func(now map[types.UID]*corev1.Pod, _ page) { all = now })
	return all
}

// up are the ready pods of a set.
func up(now map[types.UID]*corev1.Pod, name string) (n int) {
	for _, p := range now {
		if p.Labels["app"] == name && p.DeletionTimestamp == nil && isReady(p) {
			n++
		}
	}
	return n
}

// live are the pods of a set that are not on their way out.
func live(now map[types.UID]*corev1.Pod, name string) (n int) {
	for _, p := range now {
		if p.Labels["app"] == name && p.DeletionTimestamp == nil {
			n++
		}
	}
	return n
}

// fewest is the smallest number of ready pods of a set since it first had so many, and most the largest number of live ones.
func (d *diary) fewest(name string, since int) (fewest, most int) {
	fewest, begun := since, false
	d.retell(func(now map[types.UID]*corev1.Pod, last page) {
		n := up(now, name)
		if begun = begun || n >= since; begun && !last.late {
			fewest, most = min(fewest, n), max(most, live(now, name))
		}
	})
	return fewest, most
}

// born are the names of a set's pods in the order of their creation, with how many pods of the set were ready then.
func (d *diary) born(name string) (names []string, ready []int) {
	seen := map[types.UID]bool{}
	d.retell(func(now map[types.UID]*corev1.Pod, last page) {
		if p := last.pod; p.Labels["app"] == name && !seen[p.UID] {
			seen[p.UID] = true
			names, ready = append(names, p.Name), append(ready, up(now, name))
		}
	})
	return names, ready
}

// overBudget tells of each pod that was taken down for an update although that left more than so many of a set's places
// without a ready pod. A pod that was down already costs nothing.
func (d *diary) overBudget(name string, places, budget int) string {
	var wrong strings.Builder
	was := map[types.UID]bool{}
	d.retell(func(now map[types.UID]*corev1.Pod, last page) {
		p := last.pod
		if p.Labels["app"] != name {
			return
		}
		taken := last.gone || p.DeletionTimestamp != nil || conditionOf(p, "InPlaceUpdateReady") == corev1.ConditionFalse
		if down := places - up(now, name); was[p.UID] && taken && !last.late && down > budget {
			fmt.Fprintf(&wrong, "%s was taken down and then %d were not ready\n", p.Name, down)
		}
		was[p.UID] = !last.gone && p.DeletionTimestamp == nil && isReady(p)
	})
	return wrong.String()
}

func conditionOf(p *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}
