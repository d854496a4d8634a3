// The official JavaScript client against the front end of `bailiwick demo`: `node client.mjs KUBECONFIGS`.
//
// Prints `ok NAME` for each thing that it saw, and ends with an error at the first that is not so.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import * as k8s from '@kubernetes/client-node';

const namespace = 'payments-dev';
const me = 'javascript';
const labelSelector = `client=${me}`;
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const kubeconfigs = process.argv[2];

const ok = (name) => console.log(`ok ${name}`);

const connect = (person) => {
    const config = new k8s.KubeConfig();
    config.loadFromFile(`${kubeconfigs}/${person}.yaml`);
    return config;
};

// The Status that a call is refused with, as the library parsed it.
const refusal = async (code, reason, call) => {
    const error = await call().then(
        (answer) => assert.fail(`not refused: ${JSON.stringify(answer)}`),
        (error) => error,
    );
    assert.ok(error instanceof k8s.ApiException, error);
    const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
    assert.deepEqual([error.code, status.code, status.reason], [code, code, reason]);
    return status;
};

const eventually = async (what, isIt) => {
    const until = Date.now() + 30_000;
    while (!isIt()) {
        assert.ok(Date.now() < until, `not within 30 s: ${what}`);
        await sleep(20);
    }
};

const configMap = (name, data) => ({ metadata: { name, labels: { client: me } }, data });
const pod = (name, labels) => ({
    metadata: { name, labels },
    spec: { containers: [{ name: 'web', image: 'registry.example.com/web:1' }] },
});

const alice = connect('alice');
const core = alice.makeApiClient(k8s.CoreV1Api);

// The snippet of docs/frontend.md begins here.
const pods = await core.listNamespacedPod({ namespace });
const names = pods.items.map((pod) => pod.metadata.name);
// It ends here.
assert.ok(names.includes('pay-web'), names);

const version = await alice.makeApiClient(k8s.VersionApi).getCode();
assert.match(version.gitVersion, /^v1\./);
ok('version');

const dynamic = k8s.KubernetesObjectApi.makeApiClient(alice);
const web = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace: 'payments-prod' } };
assert.equal((await dynamic.read(web)).spec.template.metadata.labels.app, 'web');
ok('discovery');

for (let number = 0; number < 5; number++) {
    const body = configMap(`pay-${me}-${number}`, { number: `${number}` });
    const created = await core.createNamespacedConfigMap({ namespace, body });
    assert.equal(created.metadata.annotations['bailiwick.dev/owner'], 'alice');
}
await refusal(409, 'AlreadyExists', () =>
    core.createNamespacedConfigMap({ namespace, body: configMap(`pay-${me}-0`, {}) }),
);
ok('create');

const listed = [];
let pages = 0;
let _continue;
do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector, limit: 2, _continue });
    pages += 1;
    listed.push(...page.items.map((item) => item.metadata.name));
    _continue = page.metadata._continue;
} while (_continue);
assert.deepEqual([pages, listed], [3, [0, 1, 2, 3, 4].map((number) => `pay-${me}-${number}`)]);
ok('list');

const name = `pay-${me}-0`;
const first = await core.readNamespacedConfigMap({ namespace, name });
assert.deepEqual(first.data, { number: '0' });
ok('get');

const watched = `pay-${me}-watched`;
const mergePatch = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);
const change = async (name) => {
    await core.createNamespacedConfigMap({ namespace, body: configMap(name, { a: '1' }) });
    await core.patchNamespacedConfigMap({ namespace, name, body: { data: { a: '2' } } }, mergePatch);
    await core.deleteNamespacedConfigMap({ namespace, name });
};
const since = await core.listNamespacedConfigMap({ namespace, labelSelector });
const seen = [];
const watch = await new k8s.Watch(alice).watch(
    path,
    { labelSelector, resourceVersion: since.metadata.resourceVersion, allowWatchBookmarks: true },
    (type, object) => seen.push([type, object.metadata.name, object.data.a]),
    () => {},
);
await change(watched);
await eventually('three changes', () => seen.length >= 3);
watch.abort();
assert.deepEqual(seen, [['ADDED', watched, '1'], ['MODIFIED', watched, '2'], ['DELETED', watched, '2']]);
ok('watch');

// From before anything that is known: an event says so.
const tooOld = [];
await new Promise((resolve, reject) =>
    new k8s.Watch(alice)
        .watch(path, { resourceVersion: '1' }, (type, object) => tooOld.push([type, object.code]), resolve)
        .catch(reject),
);
assert.deepEqual(tooOld, [['ERROR', 410]]);
ok('resume');

const informer = k8s.makeInformer(
    alice, path, () => core.listNamespacedConfigMap({ namespace, labelSelector }), labelSelector,
);
const told = [];
for (const verb of ['add', 'update', 'delete']) {
    informer.on(verb, (object) => told.push(`${verb} ${object.metadata.name} ${object.data.a ?? '-'}`));
}
informer.on('error', (error) => told.push(`error ${error}`));
let isConnected = false;
informer.on('connect', () => (isConnected = true));
await informer.start();
await eventually('the informer is connected', () => isConnected);
assert.deepEqual(told.splice(0), listed.map((name) => `add ${name} -`));
await change(watched);
await eventually('the informer is told', () => told.length >= 3);
assert.deepEqual(told, [`add ${watched} 1`, `update ${watched} 2`, `delete ${watched} 2`]);
assert.deepEqual(informer.list(namespace).map((object) => object.metadata.name), listed);
await informer.stop();
ok('informer');

const patch = async (strategy, body) => {
    const header = k8s.setHeaderOptions('Content-Type', strategy);
    return (await core.patchNamespacedConfigMap({ namespace, name, body }, header)).data;
};
assert.deepEqual(
    await patch(k8s.PatchStrategy.JsonPatch, [{ op: 'replace', path: '/data/number', value: 'json' }]),
    { number: 'json' },
);
assert.deepEqual(await patch(k8s.PatchStrategy.MergePatch, { data: { number: null, kind: 'merge' } }), { kind: 'merge' });
assert.deepEqual(await patch(k8s.PatchStrategy.StrategicMergePatch, { data: { kind: 'strategic' } }), { kind: 'strategic' });
const spec = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace } };
const apply = await refusal(415, 'UnsupportedMediaType', () =>
    dynamic.patch(spec, undefined, undefined, me, undefined, k8s.PatchStrategy.ServerSideApply),
);
assert.match(apply.message, /apply/);
ok('patch');

const replace = (body) => core.replaceNamespacedConfigMap({ namespace, name, body });
const stale = await refusal(409, 'Conflict', () => replace({ ...first, data: { number: 'stale' } }));
assert.match(stale.message, /the object has been modified/);
const now = await core.readNamespacedConfigMap({ namespace, name });
assert.deepEqual((await replace({ ...now, data: { number: 'new' } })).data, { number: 'new' });
ok('replace');

for (const name of listed) {
    await core.deleteNamespacedConfigMap({ namespace, name });
}
await refusal(404, 'NotFound', () => core.readNamespacedConfigMap({ namespace, name }));
ok('delete');

// The name gets its prefix from admission.
const stored = await core.createNamespacedPod({ namespace, body: pod(me, { app: me }) });
assert.equal(stored.metadata.name, `pay-${me}`);
const whole = await core.readNamespacedPodLog({ namespace, name: stored.metadata.name });
assert.match(whole, /alice/);
const stream = new PassThrough();
await new k8s.Log(alice).log(namespace, stored.metadata.name, 'web', stream);
assert.equal(await text(stream), whole);
await core.deleteNamespacedPod({ namespace, name: stored.metadata.name });
ok('log');

const may = async (verb, resource, namespace) => {
    const body = { spec: { resourceAttributes: { verb, resource, namespace } } };
    return (await alice.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({ body })).status;
};
assert.equal((await may('list', 'pods', namespace)).allowed, true);
const denied = await may('get', 'secrets', 'payments-prod');
assert.deepEqual([denied.allowed, denied.denied], [false, true]);
assert.match(denied.reason, /payments-prod/);
ok('access review');

const byPolicy = await refusal(403, 'Forbidden', () => core.listNamespacedSecret({ namespace: 'payments-prod' }));
assert.match(byPolicy.message, /The secrets of payments-prod are for its workload only\./);
ok('refused by a policy');

const body = pod(`pay-${me}`, { x: 'y' });
const byAdmission = await refusal(422, 'Invalid', () => core.createNamespacedPod({ namespace, body }));
assert.equal(byAdmission.details.causes[0].field, 'metadata.labels[app]');
ok('refused by admission');

const nina = connect('nina').makeApiClient(k8s.CoreV1Api);
const byNobody = await refusal(403, 'Forbidden', () => nina.listNamespacedPod({ namespace }));
assert.match(byNobody.message, /User "nina" cannot list resource "pods"/);
ok('token');

await connect('deployer').makeApiClient(k8s.CoreV1Api).listNamespacedPod({ namespace });
ok('service account');

const who = await connect('bob').makeApiClient(k8s.AuthenticationV1Api).createSelfSubjectReview({ body: {} });
assert.equal(who.status.userInfo.username, 'bob');
ok('password');
