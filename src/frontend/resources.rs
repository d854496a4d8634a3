//! What the front end serves: every resource with its group, kind and verbs. Discovery, OpenAPI, routing and storage are
//! made from this one table.

/// A resource.
#[derive(Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version, the only one that is served.
    pub version: &'static str,
    /// The name in paths, in the plural.
    pub resource: &'static str,
    /// The name in the singular.
    pub singular: &'static str,
    /// The kind of its objects.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What `kubectl` takes for it besides.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// The verbs that it has.
    pub verbs: &'static [&'static str],
    /// Its subresources.
    pub subresources: &'static [Subresource],
}

/// A subresource.
#[derive(Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Its name in paths.
    pub name: &'static str,
    /// The group of its kind.
    pub group: &'static str,
    /// The version of its kind.
    pub version: &'static str,
    /// The kind that it takes or gives.
    pub kind: &'static str,
    /// The verbs that it has.
    pub verbs: &'static [&'static str],
}

/// What can be done with stored objects.
const STORED: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Reviews are created, and not kept; nor are bindings and evictions.
const REVIEW: &[&str] = &["create"];
const STATUS: &[&str] = &["get", "patch", "update"];

/// A stored resource of a namespace.
const fn namespaced(resource: &'static str, singular: &'static str, kind: &'static str) -> ResourceType {
    ResourceType {
        group: "",
        version: "v1",
        resource,
        singular,
        kind,
        namespaced: true,
        short_names: &[],
        categories: &[],
        verbs: STORED,
        subresources: &[],
    }
}

/// A stored resource of the cluster.
const fn cluster(resource: &'static str, singular: &'static str, kind: &'static str) -> ResourceType {
    ResourceType { namespaced: false, ..namespaced(resource, singular, kind) }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// Everything, in the order of discovery.
pub static RESOURCES: &[ResourceType] = &[
    NAMESPACES_TYPE,
    PODS_TYPE,
    ResourceType { short_names: &["cm"], ..namespaced("configmaps", "configmap", "ConfigMap") },
    namespaced("secrets", "secret", "Secret"),
    SERVICE_ACCOUNTS_TYPE,
    NODES_TYPE,
    SERVICES_TYPE,
    ResourceType { short_names: &["ev"], ..namespaced("events", "event", "Event") },
    DEPLOYMENTS_TYPE,
    REPLICA_SETS_TYPE,
    ResourceType { group: "coordination.k8s.io", ..namespaced("leases", "lease", "Lease") },
    ResourceType { group: RBAC, ..namespaced("roles", "role", "Role") },
    ResourceType { group: RBAC, ..namespaced("rolebindings", "rolebinding", "RoleBinding") },
    ResourceType { group: RBAC, ..cluster("clusterroles", "clusterrole", "ClusterRole") },
    ResourceType {
        group: RBAC,
        ..cluster("clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding")
    },
    // The older way to say on which node a pod runs.
    ResourceType { verbs: REVIEW, ..namespaced("bindings", "binding", "Binding") },
    review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    review("authentication.k8s.io", "tokenreviews", "TokenReview"),
    ResourceType {
        namespaced: true,
        ..review("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview")
    },
    review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    review("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    ResourceType {
        group: ADMISSION,
        categories: &["api-extensions"],
        ..cluster(
            "mutatingwebhookconfigurations",
            "mutatingwebhookconfiguration",
            "MutatingWebhookConfiguration",
        )
    },
    ResourceType {
        group: ADMISSION,
        categories: &["api-extensions"],
        ..cluster(
            "validatingwebhookconfigurations",
            "validatingwebhookconfiguration",
            "ValidatingWebhookConfiguration",
        )
    },
];

const fn review(group: &'static str, resource: &'static str, kind: &'static str) -> ResourceType {
    ResourceType { group, verbs: REVIEW, ..cluster(resource, "", kind) }
}

const NAMESPACES_TYPE: ResourceType = ResourceType {
    short_names: &["ns"],
    subresources: &[Subresource {
        name: "status",
        group: "",
        version: "v1",
        kind: "Namespace",
        verbs: STATUS,
    }],
    // As in a cluster: there is no deleting of all namespaces at once.
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    ..cluster("namespaces", "namespace", "Namespace")
};

const PODS_TYPE: ResourceType = ResourceType {
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource { name: "binding", group: "", version: "v1", kind: "Binding", verbs: REVIEW },
        Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: REVIEW },
        Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: &["get"] },
        Subresource { name: "status", group: "", version: "v1", kind: "Pod", verbs: STATUS },
    ],
    ..namespaced("pods", "pod", "Pod")
};

const SERVICE_ACCOUNTS_TYPE: ResourceType = ResourceType {
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }],
    ..namespaced("serviceaccounts", "serviceaccount", "ServiceAccount")
};

const NODES_TYPE: ResourceType = ResourceType {
    short_names: &["no"],
    subresources: &[Subresource { name: "status", group: "", version: "v1", kind: "Node", verbs: STATUS }],
    ..cluster("nodes", "node", "Node")
};

const SERVICES_TYPE: ResourceType = ResourceType {
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[Subresource { name: "status", group: "", version: "v1", kind: "Service", verbs: STATUS }],
    ..namespaced("services", "service", "Service")
};

/// How many pods a workload wants.
const SCALE: Subresource =
    Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: STATUS };

const DEPLOYMENTS_TYPE: ResourceType = ResourceType {
    group: "apps",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[
        SCALE,
        Subresource { name: "status", group: "apps", version: "v1", kind: "Deployment", verbs: STATUS },
    ],
    ..namespaced("deployments", "deployment", "Deployment")
};

const REPLICA_SETS_TYPE: ResourceType = ResourceType {
    group: "apps",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[
        SCALE,
        Subresource { name: "status", group: "apps", version: "v1", kind: "ReplicaSet", verbs: STATUS },
    ],
    ..namespaced("replicasets", "replicaset", "ReplicaSet")
};

/// The resource of this group and name, in whatever version; `None` where none is served.
#[must_use]
pub fn find(group: &str, resource: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|kind| kind.group == group && kind.resource == resource)
}

impl ResourceType {
    /// The name with its group, as `roles.rbac.authorization.k8s.io`.
    #[must_use]
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.resource.to_owned(),
            group => format!("{}.{group}", self.resource),
        }
    }

    /// The `apiVersion` of its objects.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether its objects are kept; reviews are not.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get")
    }

    /// The subresource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource>
    where
        Self: 'static,
    {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_found_by_group_and_name() {
        assert_eq!(find("", "pods").unwrap().kind, "Pod");
        assert_eq!(find(RBAC, "roles").unwrap().qualified(), "roles.rbac.authorization.k8s.io");
        assert_eq!(find(RBAC, "roles").unwrap().api_version(), "rbac.authorization.k8s.io/v1");
        assert_eq!(find("apps", "deployments").unwrap().subresource("scale").unwrap().kind, "Scale");
        assert_eq!(find("", "roles"), None);
        assert!(!find("authentication.k8s.io", "tokenreviews").unwrap().is_stored());
    }
}
