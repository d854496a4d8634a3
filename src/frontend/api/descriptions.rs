//! What `kubectl explain` says of kinds and of the fields that most of them have, in our words.

/// What a kind is; empty for those that are only parts of others.
pub(super) fn of_kind(name: &str) -> &'static str {
    match name {
        "Namespace" => "A part of the cluster with names of its own. Deleting it deletes what is in it.",
        "Binding" => "The node that a pod is given.",
        "Eviction" => "That a pod is to leave its node: it is deleted.",
        "Pod" => {
            "Containers that run together on a node. Here there is no kubelet: a pod is stored, and its log says what \
             happened to it."
        }
        "ConfigMap" => "Settings for pods to read, by key.",
        "Secret" => "Settings for pods to read that not everybody may see, by key, in base64.",
        "ServiceAccount" => "Who pods are, and other programs, when they ask the API.",
        "Node" => "A machine that pods run on.",
        "Service" => {
            "A name and an address for the pods that it selects. Here it is stored; nothing listens behind it."
        }
        "Deployment" => {
            "How many pods are wanted, and of what kind. Here it is stored; no controller makes its pods."
        }
        "ReplicaSet" => {
            "A number of pods that are the same. Here it is stored; no controller makes its pods."
        }
        "Scale" => "How many pods a workload wants, and has.",
        "Lease" => "Who holds something, and until when: a node's life, or the one of several that leads.",
        "Event" => "Something that happened to another object.",
        "Role" => "What may be done with resources of one namespace. A RoleBinding says by whom.",
        "ClusterRole" => {
            "What may be done in the whole cluster, or in any namespace where a RoleBinding gives it."
        }
        "RoleBinding" => "Gives a Role or a ClusterRole to subjects, in one namespace.",
        "ClusterRoleBinding" => "Gives a ClusterRole to subjects, in the whole cluster.",
        "MutatingWebhookConfiguration" => {
            "Programs outside that are asked to change objects before they are stored."
        }
        "ValidatingWebhookConfiguration" => "Programs outside that are asked whether objects may be stored.",
        "TokenRequest" => "Asks for a token of a ServiceAccount.",
        "TokenReview" => "Asks who somebody is who shows a token.",
        "SelfSubjectReview" => "Asks who the requester is.",
        "SubjectAccessReview" => "Asks whether somebody may do something.",
        "LocalSubjectAccessReview" => "Asks whether somebody may do something in one namespace.",
        "SelfSubjectAccessReview" => "Asks whether the requester may do something.",
        "SelfSubjectRulesReview" => "Asks for all that the requester may do in one namespace.",
        _ => "",
    }
}

/// What a field is, whatever it is a field of; empty for those that are particular.
pub(super) fn of_field(name: &str) -> &'static str {
    match name {
        "apiVersion" => "The group and version of the kind.",
        "kind" => "The kind of the object.",
        "metadata" => "Its name, labels, annotations, and what the server says of it.",
        "spec" => "What is wanted.",
        "status" => "What is.",
        "labels" => "What objects are found by: keys and values, which selectors ask for.",
        "annotations" => "What tools keep with the object; nothing selects by it.",
        "finalizers" => "Who must let go before a deleted object is gone.",
        "ownerReferences" => "The objects that this one belongs to.",
        "uid" => "Which object of this name it is; made by the server.",
        "resourceVersion" => {
            "Which version of the object it is; sent back, a change is refused if there is a later one."
        }
        "creationTimestamp" => "When it was created.",
        "deletionTimestamp" => "When it was deleted, where something still holds it.",
        "generateName" => "What a name is made from, if none is given.",
        "image" => "What the container runs.",
        "nodeName" => "The node that the pod is on.",
        "serviceAccountName" => "Who the pod is when it asks the API.",
        "replicas" => "How many pods there are to be, or are.",
        "selector" => "The labels of the pods that are meant.",
        "template" => "What pods are made from.",
        "clusterIP" => {
            "The address within the cluster; None: it has none, and names stand for the pods themselves."
        }
        "holderIdentity" => "Who holds the lease.",
        "data" => "The values, by key.",
        "stringData" => "Values as plain text, which become part of `data`; never read back.",
        "immutable" => "Whether the data can never be changed again.",
        "rules" => "What may be done.",
        "verbs" => {
            "What may be done: get, list, watch, create, update, patch, delete, deletecollection, or * for all."
        }
        "apiGroups" => "The groups of the resources; the core group is the empty text.",
        "resources" => "The resources, in the plural; a subresource as pods/log.",
        "resourceNames" => "The names of the objects; none: all.",
        "nonResourceURLs" => "Paths that are no resources, as /healthz; a * at the end stands for anything.",
        "roleRef" => "The role that is given; it can never be another.",
        "subjects" => "Whom it is given to.",
        _ => "",
    }
}
