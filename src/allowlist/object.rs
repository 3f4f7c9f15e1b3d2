//! The object of somebody's operator: read, and patched on the condition that nobody else wrote it meanwhile.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    api::FIELD_MANAGER,
    plan::{restart::Blocked, rollout::Managed},
};

use super::provider::ProviderError;

/// One object, of a kind that may not be installed.
pub struct Object<'a> {
    /// Talks to the apiserver.
    pub client: &'a Client,
    /// Its kind.
    pub resource: ApiResource,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Object<'_> {
    /// The object, if it and its kind exist.
    ///
    /// # Errors
    /// [`ProviderError::Denied`], [`ProviderError::Kube`]
    pub async fn get(&self) -> Result<Option<DynamicObject>, ProviderError> {
        match self.api().get_opt(self.name).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Err(self.denied("get")),
            result => result.map_err(ProviderError::kube("read", &self.title())),
        }
    }

    /// Whether the operator may patch it: known before anything else is begun.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn check_patch(&self) -> Result<Result<(), Blocked>, ProviderError> {
        let attributes = ResourceAttributes {
            group: Some(self.resource.group.clone()),
            resource: Some(self.resource.plural.clone()),
            verb: Some("patch".into()),
            namespace: Some(self.namespace.to_owned()),
            name: Some(self.name.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let allowed = match api.create(&PostParams::default(), &review).await {
            Ok(answer) => answer.status.is_some_and(|status| status.allowed),
            // Everybody may ask, unless an administrator took that away: then the patch itself will tell.
            Err(kube::Error::Api(status)) if status.code == 403 => true,
            Err(source) => return Err(ProviderError::kube("ask for the right to patch", &self.title())(source)),
        };
        Ok(match allowed {
            true => Ok(()),
            false => Err(Blocked::by("NotPermitted", self.denied("patch").to_string())),
        })
    }

    /// What was seen of it, where the operator may also change it.
    ///
    /// # Errors
    /// As [`Object::check_patch`].
    pub async fn changeable(&self, seen: Managed) -> Result<Managed, ProviderError> {
        let permitted = match seen.configured {
            Ok(_) => self.check_patch().await?,
            Err(_) => Ok(()),
        };
        Ok(match permitted {
            Ok(()) => seen,
            Err(blocked) => Managed { configured: Err(blocked), ..seen },
        })
    }

    /// Patches what was read with these operations; `Err` is why it can't be edited.
    ///
    /// # Errors
    /// [`ProviderError::Refused`], and as [`Object::patch`].
    pub async fn edit(
        &self,
        read: &DynamicObject,
        operations: Result<Vec<Value>, String>,
    ) -> Result<(), ProviderError> {
        self.patch(read, operations.map_err(|why| self.refused(&why))?).await
    }

    /// Patches what was read, if it still is what was read.
    ///
    /// # Errors
    /// [`ProviderError::Conflict`] where somebody wrote it meanwhile, [`ProviderError::Refused`] where the apiserver or a webhook
    /// does not want the change, [`ProviderError::Kube`]
    pub async fn patch(&self, read: &DynamicObject, operations: Vec<Value>) -> Result<(), ProviderError> {
        let version = read.resource_version();
        let unchanged = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        let operations: Vec<Value> = std::iter::once(unchanged).chain(operations).collect();
        let refused = |message: &str| self.refused(message);
        let patch = serde_json::from_value(Value::Array(operations)).map_err(|error| refused(&error.to_string()))?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.api().patch(self.name, &params, &Patch::Json::<()>(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 409 | 422) => {
                // A test that failed and a change that is not valid are both answered with 422.
                match self.get().await?.is_some_and(|now| now.resource_version() == version) {
                    true => Err(refused(&status.message)),
                    false => Err(ProviderError::Conflict { object: self.title() }),
                }
            }
            Err(source) => Err(ProviderError::kube("patch", &self.title())(source)),
        }
    }

    fn refused(&self, message: &str) -> ProviderError {
        ProviderError::Refused { object: self.title(), message: message.chars().take(512).collect() }
    }

    /// It does not exist.
    pub fn missing(&self) -> ProviderError {
        ProviderError::Missing { kind: self.resource.kind.clone(), name: self.name.to_owned() }
    }

    fn denied(&self, verb: &'static str) -> ProviderError {
        ProviderError::Denied {
            verb,
            resource: format!("{}.{}", self.resource.plural, self.resource.group),
            namespace: self.namespace.to_owned(),
        }
    }

    /// For people: `Elasticsearch es-1`.
    pub fn title(&self) -> String {
        format!("{} {}", self.resource.kind, self.name)
    }

    fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, &self.resource)
    }
}
