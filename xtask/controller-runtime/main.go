// The least controller of controller-runtime for the Reindex operator's objects: it keeps them all, looks at each, and does nothing.
package main

import (
	"context"
	"flag"
	"log"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

type reconciler struct {
	client.Client
}

// Reconcile reads the object from the cache, as every controller does first.
func (r reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var reindex Reindex
	err := r.Get(ctx, request.NamespacedName, &reindex)
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

func main() {
	address := flag.String("metrics", "127.0.0.1:8080", "where metrics are shown")
	flag.Parse() // --kubeconfig is controller-runtime's own
	scheme := runtime.NewScheme()
	version := schema.GroupVersion{Group: "reindex.dev", Version: "v1alpha1"}
	scheme.AddKnownTypes(version, &Reindex{}, &ReindexList{})
	metav1.AddToGroupVersion(scheme, version)
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:  scheme,
		Metrics: metrics.Options{BindAddress: *address},
		// The operator does without them, too.
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := ctrl.NewControllerManagedBy(manager).For(&Reindex{}).Complete(reconciler{manager.GetClient()}); err != nil {
		log.Fatal(err)
	}
	log.Fatal(manager.Start(ctrl.SetupSignalHandler()))
}
