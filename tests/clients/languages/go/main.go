// The official Go client against the front end of `bailiwick demo`: `client KUBECONFIGS`.
//
// Prints `ok NAME` for each thing that it saw, and ends with an error at the first that is not so.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
)

const (
	namespace = "payments-dev"
	me        = "go"
	selector  = "client=" + me
	patience  = 30 * time.Second
)

var kubeconfigs = os.Args[1]

func ok(name string) { fmt.Println("ok", name) }

func fail(format string, arguments ...any) { panic(fmt.Sprintf(format, arguments...)) }

func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

func same(seen, expected any) {
	if !reflect.DeepEqual(seen, expected) {
		fail("%v instead of %v", seen, expected)
	}
}

func contains(text, part string) {
	if !strings.Contains(text, part) {
		fail("%q has no %q", text, part)
	}
}

// refused takes an error for the Status that it is, and holds it to this reason.
func refused[T any](_ T, err error) func(code int32, reason metav1.StatusReason) metav1.Status {
	return func(code int32, reason metav1.StatusReason) metav1.Status {
		status, is := err.(apierrors.APIStatus)
		if !is {
			fail("no Status: %v", err)
		}
		same(status.Status().Code, code)
		same(status.Status().Reason, reason)
		return status.Status()
	}
}

func connect(person string) *rest.Config {
	config := must(clientcmd.BuildConfigFromFlags("", filepath.Join(kubeconfigs, person+".yaml")))
	// What client-go allows itself by default, 5 requests a second, is no part of the test.
	config.QPS, config.Burst = 1000, 1000
	return config
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"client": me}}, Data: data}
}

func pod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "registry.example.com/web:1"}}},
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	config := connect("alice")
	clients := kubernetes.NewForConfigOrDie(config)
	maps := clients.CoreV1().ConfigMaps(namespace)

	// The snippet of docs/frontend.md begins here.
	pods, err := clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		panic(err)
	}
	for _, pod := range pods.Items {
		fmt.Println(pod.Name)
	}
	// It ends here.

	contains(must(clients.Discovery().ServerVersion()).GitVersion, "v1.")
	ok("version")

	groups, resources, err := clients.Discovery().ServerGroupsAndResources()
	same(err, nil)
	if len(groups) < 5 || len(resources) < 5 {
		fail("%d groups, %d lists of resources", len(groups), len(resources))
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	web := must(dynamic.NewForConfigOrDie(config).Resource(deployments).Namespace("payments-prod").Get(ctx, "web", metav1.GetOptions{}))
	label, _, _ := unstructured.NestedString(web.Object, "spec", "template", "metadata", "labels", "app")
	same(label, "web")
	// Only the metadata, which the server is asked to cut out.
	partial := must(metadata.NewForConfigOrDie(config).Resource(deployments).Namespace("payments-prod").Get(ctx, "web", metav1.GetOptions{}))
	same(partial.Labels["app"], "web")
	ok("discovery")

	all := []string{}
	for number := range 5 {
		name := fmt.Sprintf("pay-%s-%d", me, number)
		all = append(all, name)
		created := must(maps.Create(ctx, configMap(name, map[string]string{"number": fmt.Sprint(number)}), metav1.CreateOptions{}))
		same(created.Annotations["bailiwick.dev/owner"], "alice")
	}
	refused(maps.Create(ctx, configMap(all[0], nil), metav1.CreateOptions{}))(409, metav1.StatusReasonAlreadyExists)
	ok("create")

	listed, pages, options := []string{}, 0, metav1.ListOptions{LabelSelector: selector, Limit: 2}
	for {
		page := must(maps.List(ctx, options))
		pages++
		for _, item := range page.Items {
			listed = append(listed, item.Name)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	same(pages, 3)
	same(listed, all)
	// The same by the library's own pager.
	pages = 0
	reader := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		pages++
		options.LabelSelector = selector
		return maps.List(ctx, options)
	})
	reader.PageSize = 2
	count := 0
	same(reader.EachListItem(ctx, metav1.ListOptions{}, func(runtime.Object) error { count++; return nil }), nil)
	same([]int{pages, count}, []int{3, 5})
	ok("list")

	first := must(maps.Get(ctx, all[0], metav1.GetOptions{}))
	same(first.Data, map[string]string{"number": "0"})
	ok("get")

	change := func(name string) {
		must(maps.Create(ctx, configMap(name, map[string]string{"a": "1"}), metav1.CreateOptions{}))
		must(maps.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{}))
		same(maps.Delete(ctx, name, metav1.DeleteOptions{}), nil)
	}
	watched := "pay-" + me + "-watched"
	since := must(maps.List(ctx, metav1.ListOptions{LabelSelector: selector})).ResourceVersion
	watcher := must(watchtools.NewRetryWatcherWithContext(ctx, since, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return maps.Watch(ctx, options)
		},
	}))
	change(watched)
	seen := []string{}
	for event := range watcher.ResultChan() {
		object := event.Object.(*corev1.ConfigMap)
		seen = append(seen, fmt.Sprint(event.Type, " ", object.Name, " ", object.Data["a"]))
		if event.Type == watch.Deleted {
			break
		}
	}
	watcher.Stop()
	same(seen, []string{"ADDED " + watched + " 1", "MODIFIED " + watched + " 2", "DELETED " + watched + " 2"})
	ok("watch")

	// From before anything that is known: an event says so, and the library knows its reason.
	tooOld := must(maps.Watch(ctx, metav1.ListOptions{ResourceVersion: "1"}))
	event := <-tooOld.ResultChan()
	tooOld.Stop()
	same(event.Type, watch.Error)
	if err := apierrors.FromObject(event.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		fail("%v", err)
	}
	ok("resume")

	informed(ctx, clients, all, watched, change)
	ok("informer")

	patch := func(kind types.PatchType, body string) map[string]string {
		return must(maps.Patch(ctx, all[0], kind, []byte(body), metav1.PatchOptions{})).Data
	}
	same(patch(types.JSONPatchType, `[{"op":"replace","path":"/data/number","value":"json"}]`), map[string]string{"number": "json"})
	same(patch(types.MergePatchType, `{"data":{"number":null,"kind":"merge"}}`), map[string]string{"kind": "merge"})
	same(patch(types.StrategicMergePatchType, `{"data":{"kind":"strategic"}}`), map[string]string{"kind": "strategic"})
	apply := applycorev1.ConfigMap(all[0], namespace).WithData(map[string]string{"kind": "apply"})
	applied := refused(maps.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: me}))(415, metav1.StatusReasonUnsupportedMediaType)
	contains(applied.Message, "apply")
	ok("patch")

	first.Data = map[string]string{"number": "stale"}
	stale := refused(maps.Update(ctx, first, metav1.UpdateOptions{}))(409, metav1.StatusReasonConflict)
	contains(stale.Message, "the object has been modified")
	tries := 0
	same(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		tries++
		if tries > 1 {
			first = must(maps.Get(ctx, all[0], metav1.GetOptions{}))
		}
		first.Data = map[string]string{"number": "new"}
		_, err := maps.Update(ctx, first, metav1.UpdateOptions{})
		return err
	}), nil)
	same(tries, 2)
	ok("replace")

	for _, name := range all {
		same(maps.Delete(ctx, name, metav1.DeleteOptions{}), nil)
	}
	refused(maps.Get(ctx, all[0], metav1.GetOptions{}))(404, metav1.StatusReasonNotFound)
	ok("delete")

	// The name gets its prefix from admission.
	stored := must(clients.CoreV1().Pods(namespace).Create(ctx, pod(me, map[string]string{"app": me}), metav1.CreateOptions{}))
	same(stored.Name, "pay-"+me)
	stream := must(clients.CoreV1().Pods(namespace).GetLogs(stored.Name, &corev1.PodLogOptions{}).Stream(ctx))
	contains(string(must(io.ReadAll(stream))), "alice")
	stream.Close()
	same(clients.CoreV1().Pods(namespace).Delete(ctx, stored.Name, metav1.DeleteOptions{}), nil)
	ok("log")

	may := func(verb, resource, namespace string) authorizationv1.SubjectAccessReviewStatus {
		attributes := &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource, Namespace: namespace}
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes}}
		return must(clients.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})).Status
	}
	same(may("list", "pods", namespace).Allowed, true)
	denied := may("get", "secrets", "payments-prod")
	same([]bool{denied.Allowed, denied.Denied}, []bool{false, true})
	contains(denied.Reason, "payments-prod")
	ok("access review")

	byPolicy := refused(clients.CoreV1().Secrets("payments-prod").List(ctx, metav1.ListOptions{}))(403, metav1.StatusReasonForbidden)
	contains(byPolicy.Message, "The secrets of payments-prod are for its workload only.")
	ok("refused by a policy")

	unlabelled := pod("pay-"+me, map[string]string{"x": "y"})
	byAdmission := refused(clients.CoreV1().Pods(namespace).Create(ctx, unlabelled, metav1.CreateOptions{}))(422, metav1.StatusReasonInvalid)
	same(byAdmission.Details.Causes[0].Field, "metadata.labels[app]")
	ok("refused by admission")

	nina := kubernetes.NewForConfigOrDie(connect("nina"))
	byNobody := refused(nina.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{}))(403, metav1.StatusReasonForbidden)
	contains(byNobody.Message, `User "nina" cannot list resource "pods"`)
	ok("token")

	must(kubernetes.NewForConfigOrDie(connect("deployer")).CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{}))
	ok("service account")

	bob := kubernetes.NewForConfigOrDie(connect("bob")).AuthenticationV1().SelfSubjectReviews()
	who := must(bob.Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}))
	same(who.Status.UserInfo.Username, "bob")
	ok("password")

	elected(ctx)
	ok("leader election")
}

// informed runs a SharedInformer while the objects change.
func informed(ctx context.Context, clients kubernetes.Interface, all []string, watched string, change func(string)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = selector }))
	maps := factory.Core().V1().ConfigMaps()
	told := make(chan string, 100)
	tell := func(verb string, object any) {
		told <- fmt.Sprint(verb, " ", object.(*corev1.ConfigMap).Name, " ", object.(*corev1.ConfigMap).Data["a"])
	}
	must(maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { tell("add", object) },
		UpdateFunc: func(_, object any) { tell("update", object) },
		DeleteFunc: func(object any) { tell("delete", object) },
	}))
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		same(fmt.Sprint(kind, synced), fmt.Sprint(kind, true))
	}
	is := map[string]bool{}
	for range all {
		is[<-told] = true
	}
	for _, name := range all {
		same(is["add "+name+" "], true)
	}
	change(watched)
	for _, expected := range []string{"add " + watched + " 1", "update " + watched + " 2", "delete " + watched + " 2"} {
		select {
		case seen := <-told:
			same(seen, expected)
		case <-time.After(patience):
			fail("not told: %s", expected)
		}
	}
	same(len(maps.Informer().GetStore().ListKeys()), len(all))
	cancel()
	factory.Shutdown()
}

// elected lets two candidates stand for one lease: the second leads when the first has given it back.
func elected(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clients := kubernetes.NewForConfigOrDie(connect("admin"))
	leads := make(chan string, 2)
	var ended sync.WaitGroup
	stand := func(ctx context.Context, name string) {
		ended.Add(1)
		go func() {
			defer ended.Done()
			lock := must(resourcelock.New(resourcelock.LeasesResourceLock, "default", "the-leader", clients.CoreV1(),
				clients.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: name}))
			leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
				Lock: lock, LeaseDuration: 4 * time.Second, RenewDeadline: 3 * time.Second, RetryPeriod: 200 * time.Millisecond,
				ReleaseOnCancel: true,
				Callbacks: leaderelection.LeaderCallbacks{
					OnStartedLeading: func(context.Context) { leads <- name },
					OnStoppedLeading: func() {},
				},
			})
		}()
	}
	firstTerm, resign := context.WithCancel(ctx)
	stand(firstTerm, "first")
	same(<-leads, "first")
	stand(ctx, "second")
	select {
	case name := <-leads:
		fail("%s leads beside the first", name)
	case <-time.After(time.Second):
	}
	resign()
	select {
	case name := <-leads:
		same(name, "second")
	case <-time.After(patience):
		fail("nobody leads")
	}
	cancel()
	ended.Wait()
	same(clients.CoordinationV1().Leases("default").Delete(context.Background(), "the-leader", metav1.DeleteOptions{}), nil)
}
