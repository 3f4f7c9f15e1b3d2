//! Whether the destination may read from the source, and can: what its SearchCluster says, then a reindex of no documents.

use kube::ResourceExt;

use crate::{
    allowlist::provider::Provider,
    controller::connect::Connected,
    plan::{
        allowlist::{Turn, covers, told_to_reindex},
        reindex::{Allowlist, Observation},
        trust,
        validate::Trouble,
    },
    search::{ProbeVerdict, RemoteSource},
};

use super::{
    convert, gate,
    observe::{Eyes, Seen, of, open},
    sides::Sides,
};

impl Eyes<'_> {
    /// Whether the destination may read from the source, and can.
    pub(super) async fn allowlist(&self) -> Seen<Observation> {
        let wanted = self.sides.remote.as_ref().map(|remote| remote.host_port.clone()).unwrap_or_default();
        let status = self.sides.destination.status.clone().unwrap_or_default();
        let listed = status.allowlist.clone().unwrap_or_default();
        if !covers(&listed.effective, &wanted) {
            let (turn, said) = self.told(Some(&wanted), listed.pending.contains(&wanted));
            let name = self.sides.destination.name_any();
            let message = format!("the source {wanted} is not on the allowlist of SearchCluster {name}: {said}");
            return Ok(Observation::Allowlist(Allowlist::Missing { turn, message }));
        }
        // Nodes that restart would be taken for nodes that can't be reached, or can't reach the source.
        if let Some(cluster) = gate::seen_closed(self.ctx, &self.status) {
            return Ok(Observation::Allowlist(Allowlist::Restarting(cluster)));
        }
        let destination = self.destination().await?;
        let source = open(self.ctx, "the source", &self.sides.source).await.map_err(Observation::Trouble)?;
        Ok(Observation::Allowlist(self.probe(&source, &destination, &wanted).await?))
    }

    /// A reindex of no documents: whether the destination's nodes reach the source, trust it and may read from it.
    async fn probe(&self, source: &Connected, destination: &Connected, wanted: &str) -> Seen<Allowlist> {
        let spec = &self.reindex.spec;
        let remote = RemoteSource {
            host: self.remote(),
            credentials: source.credentials.as_ref(),
            takes_api_key: convert::takes_api_key(Some(&self.status)),
            socket_timeout: &spec.source.socket_timeout,
            connect_timeout: &spec.source.connect_timeout,
        };
        let verdict = destination.client.probe_reindex(&remote, &spec.source.index, &spec.destination.index).await;
        let verdict = verdict.map_err(of("the destination"))?;
        Ok(self.judge_probe(verdict, wanted).await)
    }

    /// The same once more, long after the begin.
    pub(super) async fn reaches_still(&self, source: &Connected, destination: &Connected) -> Seen<()> {
        let wanted = self.sides.remote.as_ref().map(|remote| remote.host_port.clone()).unwrap_or_default();
        match self.probe(source, destination, &wanted).await? {
            Allowlist::Passed => Ok(()),
            Allowlist::Restarting(cluster) => Err(Observation::GateClosed(cluster)),
            Allowlist::Refused(trouble) => Err(Observation::Trouble(trouble)),
            Allowlist::Missing { message, .. } => {
                Err(Observation::Trouble(Trouble { reason: "SourceUntrusted", message }))
            }
        }
    }

    /// What the destination's SearchCluster says about what is lacking.
    fn told(&self, entry: Option<&str>, known: bool) -> (Turn, String) {
        let namespace = self.reindex.namespace().unwrap_or_default();
        told_to_reindex(&self.sides.destination, &namespace, entry, known)
    }

    async fn judge_probe(&self, verdict: ProbeVerdict, wanted: &str) -> Allowlist {
        let (reason, message) = match verdict {
            ProbeVerdict::Passed => return Allowlist::Passed,
            ProbeVerdict::NotAllowed => (
                "NotAllowed",
                format!(
                    "a node of the destination refuses the source {wanted}, although all of them showed it on their allowlist"
                ),
            ),
            ProbeVerdict::Unreachable(why) => (
                "SourceUnreachable",
                format!(
                    "the destination's nodes can't reach the source at {wanted} ({why}): check the network between the clusters, and remoteEndpoint or remotes"
                ),
            ),
            ProbeVerdict::Untrusted => return self.untrusted(wanted).await,
            ProbeVerdict::Unauthorized => (
                "SourceAuthenticationFailed",
                format!("the source at {wanted} refused its own credentials when the destination used them"),
            ),
            ProbeVerdict::Rejected(why) => {
                ("ProbeRejected", format!("a reindex of no documents from {wanted} was refused: {why}"))
            }
        };
        Allowlist::Refused(Trouble { reason, message })
    }

    /// The destination's nodes don't trust the source: its SearchCluster sees to that, or a person is told what to do.
    async fn untrusted(&self, wanted: &str) -> Allowlist {
        let Sides { destination, source, .. } = self.sides;
        if trust::is_awaited(destination, source) {
            let (turn, said) = self.told(None, true);
            let name = destination.name_any();
            let message =
                format!("nodes of SearchCluster {name} don't trust the certificate of the source {wanted} yet: {said}");
            return Allowlist::Missing { turn, message };
        }
        let provider = Provider::of(&self.ctx.client, &self.ctx.operator_identity, destination);
        let listed = provider.authorities().await.unwrap_or_default();
        Allowlist::Refused(Trouble {
            reason: "SourceUntrusted",
            message: trust::untrusted(destination, source, wanted, &listed),
        })
    }
}
