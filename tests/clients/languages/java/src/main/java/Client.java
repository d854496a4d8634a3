// The official Java client against the front end of `bailiwick demo`: `java -cp ... Client KUBECONFIGS`.
//
// Prints `ok NAME` for each thing that it saw, and ends with an error at the first that is not so.

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.reflect.TypeToken;
import io.kubernetes.client.PodLogs;
import io.kubernetes.client.custom.V1Patch;
import io.kubernetes.client.informer.ResourceEventHandler;
import io.kubernetes.client.informer.SharedIndexInformer;
import io.kubernetes.client.informer.SharedInformerFactory;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.AuthenticationV1Api;
import io.kubernetes.client.openapi.apis.AuthorizationV1Api;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.apis.VersionApi;
import io.kubernetes.client.openapi.models.*;
import io.kubernetes.client.util.Config;
import io.kubernetes.client.util.PatchUtils;
import io.kubernetes.client.util.Watch;
import io.kubernetes.client.util.generic.dynamic.DynamicKubernetesApi;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

public final class Client {
  private static final String NAMESPACE = "payments-dev";
  private static final String ME = "java";
  private static final String SELECTOR = "client=" + ME;
  private static final String WATCHED = "pay-" + ME + "-watched";
  private static final long PATIENCE_SECONDS = 30;

  private static String kubeconfigs;
  private static ApiClient alice;
  private static CoreV1Api core;

  private static void ok(String name) {
    System.out.println("ok " + name);
  }

  private static void same(Object seen, Object expected) {
    holds(Objects.equals(seen, expected), seen + " instead of " + expected);
  }

  private static void holds(boolean condition, String what) {
    if (!condition) {
      throw new AssertionError(what);
    }
  }

  private static ApiClient connect(String person) throws Exception {
    return Config.fromConfig(kubeconfigs + "/" + person + ".yaml");
  }

  /** The Status that a call is refused with. */
  private static JsonObject refusal(int code, String reason, Callable<?> call) throws Exception {
    try {
      throw new AssertionError("not refused: " + call.call());
    } catch (ApiException error) {
      JsonObject status = JsonParser.parseString(error.getResponseBody()).getAsJsonObject();
      same(error.getCode(), code);
      same(status.get("code").getAsInt(), code);
      same(status.get("reason").getAsString(), reason);
      return status;
    }
  }

  private static V1ConfigMap configMap(String name, Map<String, String> data) {
    return new V1ConfigMap().metadata(new V1ObjectMeta().name(name).putLabelsItem("client", ME)).data(data);
  }

  private static V1Pod pod(String name, Map<String, String> labels) {
    V1Container container = new V1Container().name("web").image("registry.example.com/web:1");
    return new V1Pod()
        .metadata(new V1ObjectMeta().name(name).labels(labels))
        .spec(new V1PodSpec().addContainersItem(container));
  }

  private static Map<String, String> patch(String name, String format, String body) throws ApiException {
    return PatchUtils.patch(
            V1ConfigMap.class,
            () -> core.patchNamespacedConfigMap(name, NAMESPACE, new V1Patch(body)).fieldManager(ME).buildCall(null),
            format,
            alice)
        .getData();
  }

  private static void change() throws ApiException {
    core.createNamespacedConfigMap(NAMESPACE, configMap(WATCHED, Map.of("a", "1"))).execute();
    patch(WATCHED, V1Patch.PATCH_FORMAT_JSON_MERGE_PATCH, "{\"data\":{\"a\":\"2\"}}");
    core.deleteNamespacedConfigMap(WATCHED, NAMESPACE).execute();
  }

  private static V1SubjectAccessReviewStatus may(String verb, String resource, String namespace) throws ApiException {
    V1ResourceAttributes attributes = new V1ResourceAttributes().verb(verb).resource(resource).namespace(namespace);
    V1SelfSubjectAccessReviewSpec spec = new V1SelfSubjectAccessReviewSpec().resourceAttributes(attributes);
    return new AuthorizationV1Api(alice)
        .createSelfSubjectAccessReview(new V1SelfSubjectAccessReview().spec(spec))
        .execute()
        .getStatus();
  }

  private static List<String> names() throws ApiException {
    // The snippet of docs/frontend.md begins here.
    List<String> names = new ArrayList<>();
    for (V1Pod pod : core.listNamespacedPod(NAMESPACE).execute().getItems()) {
      names.add(pod.getMetadata().getName());
    }
    // It ends here.
    return names;
  }

  public static void main(String[] arguments) throws Exception {
    kubeconfigs = arguments[0];
    alice = connect("alice");
    core = new CoreV1Api(alice);
    holds(names().contains("pay-web"), names().toString());

    holds(new VersionApi(alice).getCode().execute().getGitVersion().startsWith("v1."), "the version");
    ok("version");

    DynamicKubernetesApi deployments = new DynamicKubernetesApi("apps", "v1", "deployments", alice);
    JsonObject web = deployments.get("payments-prod", "web").throwsApiException().getObject().getRaw();
    JsonObject template = web.getAsJsonObject("spec").getAsJsonObject("template");
    same(template.getAsJsonObject("metadata").getAsJsonObject("labels").get("app").getAsString(), "web");
    ok("discovery");

    List<String> all = IntStream.range(0, 5).mapToObj(number -> "pay-" + ME + "-" + number).toList();
    for (String name : all) {
      V1ConfigMap created = core.createNamespacedConfigMap(NAMESPACE, configMap(name, Map.of("name", name))).execute();
      same(created.getMetadata().getAnnotations().get("bailiwick.dev/owner"), "alice");
    }
    String name = all.get(0);
    refusal(409, "AlreadyExists", () -> core.createNamespacedConfigMap(NAMESPACE, configMap(name, null)).execute());
    ok("create");

    int pages = 0;
    List<String> listed = new ArrayList<>();
    String more = null;
    do {
      V1ConfigMapList page =
          core.listNamespacedConfigMap(NAMESPACE).labelSelector(SELECTOR).limit(2)._continue(more).execute();
      pages += 1;
      page.getItems().forEach(item -> listed.add(item.getMetadata().getName()));
      more = page.getMetadata().getContinue();
    } while (more != null && !more.isEmpty());
    same(pages, 3);
    same(listed, all);
    ok("list");

    V1ConfigMap first = core.readNamespacedConfigMap(name, NAMESPACE).execute();
    same(first.getData(), Map.of("name", name));
    ok("get");

    String since =
        core.listNamespacedConfigMap(NAMESPACE).labelSelector(SELECTOR).execute().getMetadata().getResourceVersion();
    List<String> seen = new ArrayList<>();
    try (Watch<V1ConfigMap> watch =
        Watch.createWatch(
            alice,
            core.listNamespacedConfigMap(NAMESPACE)
                .labelSelector(SELECTOR).resourceVersion(since).timeoutSeconds(30).watch(true).buildCall(null),
            new TypeToken<Watch.Response<V1ConfigMap>>() {}.getType())) {
      change();
      while (seen.size() < 3 && watch.hasNext()) {
        Watch.Response<V1ConfigMap> event = watch.next();
        seen.add(event.type + " " + event.object.getMetadata().getName() + " " + event.object.getData().get("a"));
      }
    }
    same(seen, List.of("ADDED " + WATCHED + " 1", "MODIFIED " + WATCHED + " 2", "DELETED " + WATCHED + " 2"));
    ok("watch");

    // From before anything that is known: an event says so.
    try (Watch<V1ConfigMap> watch =
        Watch.createWatch(
            alice,
            core.listNamespacedConfigMap(NAMESPACE).resourceVersion("1").timeoutSeconds(30).watch(true).buildCall(null),
            new TypeToken<Watch.Response<V1ConfigMap>>() {}.getType())) {
      holds(watch.hasNext(), "nobody says that the version is too old");
      same(watch.next().status.getCode(), 410);
    }
    ok("resume");

    informed(all);
    ok("informer");

    String replaced = "[{\"op\":\"replace\",\"path\":\"/data/name\",\"value\":\"json\"}]";
    same(patch(name, V1Patch.PATCH_FORMAT_JSON_PATCH, replaced), Map.of("name", "json"));
    String merge = "{\"data\":{\"name\":null,\"kind\":\"merge\"}}";
    same(patch(name, V1Patch.PATCH_FORMAT_JSON_MERGE_PATCH, merge), Map.of("kind", "merge"));
    String strategic = "{\"data\":{\"kind\":\"strategic\"}}";
    same(patch(name, V1Patch.PATCH_FORMAT_STRATEGIC_MERGE_PATCH, strategic), Map.of("kind", "strategic"));
    String apply = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" + name + "\"}}";
    JsonObject applied =
        refusal(415, "UnsupportedMediaType", () -> patch(name, V1Patch.PATCH_FORMAT_APPLY_YAML, apply));
    holds(applied.get("message").getAsString().contains("apply"), applied.toString());
    ok("patch");

    first.setData(Map.of("name", "stale"));
    JsonObject stale =
        refusal(409, "Conflict", () -> core.replaceNamespacedConfigMap(name, NAMESPACE, first).execute());
    holds(stale.get("message").getAsString().contains("the object has been modified"), stale.toString());
    V1ConfigMap now = core.readNamespacedConfigMap(name, NAMESPACE).execute().data(Map.of("name", "new"));
    same(core.replaceNamespacedConfigMap(name, NAMESPACE, now).execute().getData(), Map.of("name", "new"));
    ok("replace");

    for (String each : all) {
      core.deleteNamespacedConfigMap(each, NAMESPACE).execute();
    }
    refusal(404, "NotFound", () -> core.readNamespacedConfigMap(name, NAMESPACE).execute());
    ok("delete");

    // The name gets its prefix from admission.
    V1Pod stored = core.createNamespacedPod(NAMESPACE, pod(ME, Map.of("app", ME))).execute();
    same(stored.getMetadata().getName(), "pay-" + ME);
    String log = core.readNamespacedPodLog("pay-" + ME, NAMESPACE).execute();
    holds(log.contains("alice"), log);
    // This library follows the log whenever it streams it, so that there is no end to wait for.
    try (var stream = new PodLogs(alice).streamNamespacedPodLog(NAMESPACE, "pay-" + ME, "web", null, null, false)) {
      byte[] bytes = new byte[log.getBytes(StandardCharsets.UTF_8).length];
      // Not by readNBytes(length): it ends with a read of nothing, for which this stream waits.
      same(stream.readNBytes(bytes, 0, bytes.length), bytes.length);
      same(new String(bytes, StandardCharsets.UTF_8), log);
    }
    same(core.deleteNamespacedPod("pay-" + ME, NAMESPACE).execute().getMetadata().getName(), "pay-" + ME);
    ok("log");

    same(may("list", "pods", NAMESPACE).getAllowed(), true);
    V1SubjectAccessReviewStatus denied = may("get", "secrets", "payments-prod");
    same(List.of(denied.getAllowed(), denied.getDenied()), List.of(false, true));
    holds(denied.getReason().contains("payments-prod"), denied.getReason());
    ok("access review");

    JsonObject byPolicy = refusal(403, "Forbidden", () -> core.listNamespacedSecret("payments-prod").execute());
    holds(
        byPolicy.get("message").getAsString().contains("The secrets of payments-prod are for its workload only."),
        byPolicy.toString());
    ok("refused by a policy");

    V1Pod unlabelled = pod("pay-" + ME, Map.of("x", "y"));
    JsonObject byAdmission =
        refusal(422, "Invalid", () -> core.createNamespacedPod(NAMESPACE, unlabelled).execute());
    JsonObject cause = byAdmission.getAsJsonObject("details").getAsJsonArray("causes").get(0).getAsJsonObject();
    same(cause.get("field").getAsString(), "metadata.labels[app]");
    ok("refused by admission");

    CoreV1Api nina = new CoreV1Api(connect("nina"));
    JsonObject byNobody = refusal(403, "Forbidden", () -> nina.listNamespacedPod(NAMESPACE).execute());
    holds(
        byNobody.get("message").getAsString().contains("User \"nina\" cannot list resource \"pods\""),
        byNobody.toString());
    ok("token");

    new CoreV1Api(connect("deployer")).listNamespacedPod(NAMESPACE).execute();
    ok("service account");

    V1SelfSubjectReview who =
        new AuthenticationV1Api(connect("bob")).createSelfSubjectReview(new V1SelfSubjectReview()).execute();
    same(who.getStatus().getUserInfo().getUsername(), "bob");
    ok("password");
    System.exit(0);
  }

  /** Runs a SharedIndexInformer while the objects change. */
  private static void informed(List<String> all) throws Exception {
    ApiClient client = connect("alice");
    client.setReadTimeout(0);
    SharedInformerFactory factory = new SharedInformerFactory(client);
    SharedIndexInformer<V1ConfigMap> informer =
        factory.sharedIndexInformerFor(
            parameters ->
                new CoreV1Api(client)
                    .listNamespacedConfigMap(NAMESPACE)
                    .labelSelector(SELECTOR)
                    .resourceVersion(parameters.resourceVersion)
                    .timeoutSeconds(parameters.timeoutSeconds)
                    .watch(parameters.watch)
                    .buildCall(null),
            V1ConfigMap.class,
            V1ConfigMapList.class);
    BlockingQueue<String> told = new LinkedBlockingQueue<>();
    informer.addEventHandler(
        new ResourceEventHandler<>() {
          @Override
          public void onAdd(V1ConfigMap object) {
            tell("add", object);
          }

          @Override
          public void onUpdate(V1ConfigMap before, V1ConfigMap object) {
            tell("update", object);
          }

          @Override
          public void onDelete(V1ConfigMap object, boolean isUnknown) {
            tell("delete", object);
          }

          private void tell(String verb, V1ConfigMap object) {
            told.add(verb + " " + object.getMetadata().getName() + " " + object.getData().get("a"));
          }
        });
    factory.startAllRegisteredInformers();
    List<String> existing = new ArrayList<>();
    for (int count = 0; count < all.size(); count++) {
      existing.add(told.poll(PATIENCE_SECONDS, TimeUnit.SECONDS));
    }
    existing.sort(null);
    same(existing, all.stream().map(name -> "add " + name + " null").toList());
    change();
    for (String expected : List.of("add " + WATCHED + " 1", "update " + WATCHED + " 2", "delete " + WATCHED + " 2")) {
      same(told.poll(PATIENCE_SECONDS, TimeUnit.SECONDS), expected);
    }
    same(informer.getIndexer().listKeys().size(), all.size());
    factory.stopAllRegisteredInformers();
  }
}
