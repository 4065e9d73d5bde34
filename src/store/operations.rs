//! The operations of a store that are the same in every SQL database.

/// The operations of an [`EpochStore`](super::EpochStore) that are the same in every SQL database: a
/// change that its `write` makes, a question to its `newest` or `judgement`, or what its `fleet` does.
macro_rules! by_the_writer {
    () => {
        async fn revoke_many(
            &self,
            revocations: &[$crate::store::Revocation],
        ) -> Result<$crate::cutoff::Receipt, $crate::error::Error> {
            let revocations = revocations.to_vec();
            self.write($crate::store::statements::Path::Session, |writer| {
                Box::pin(async move { writer.revoke(&revocations).await })
            })
            .await
        }

        async fn seal(
            &self,
            id: &$crate::store::RequestId,
        ) -> Result<$crate::cutoff::Receipt, $crate::error::Error> {
            let id = id.clone();
            self.write($crate::store::statements::Path::Session, |writer| {
                Box::pin(async move { writer.receipt(&id).await })
            })
            .await
        }

        async fn clear(
            &self,
            scope: &$crate::scope::Scope,
            audit: $crate::store::Audit,
        ) -> Result<$crate::cutoff::Receipt, $crate::error::Error> {
            let scope = scope.clone();
            self.write($crate::store::statements::Path::Session, |writer| {
                Box::pin(async move { writer.clear(&scope, &audit).await })
            })
            .await
        }

        async fn ticket(&self) -> Result<$crate::store::Ticket, $crate::error::Error> {
            let (newest, pending) = self.newest().await?;
            if !pending {
                return Ok($crate::store::Ticket::new(newest));
            }
            self.write($crate::store::statements::Path::Session, |writer| {
                Box::pin(async move { Ok($crate::store::Ticket::new(writer.newest())) })
            })
            .await
        }

        async fn judged(
            &self,
            scopes: &[$crate::scope::Scope],
        ) -> Result<$crate::store::Judged, $crate::error::Error> {
            let request = $crate::store::statements::Path::Request;
            let (judged, pending) = self.judgement(request, scopes).await?;
            // A replica cannot seal, and proves nothing anyhow.
            if !pending || !judged.primary {
                return Ok(judged);
            }
            // Whatever is pending by now, what was when this was asked is sealed.
            self.write(request, |_| Box::pin(async { Ok(()) })).await?;
            Ok(self.judgement(request, scopes).await?.0)
        }

        async fn advance(
            &self,
            newest: $crate::cutoff::StoreTime,
        ) -> Result<(), $crate::error::Error> {
            self.write($crate::store::statements::Path::Sync, move |writer| {
                Box::pin(async move { writer.advance(newest).await })
            })
            .await
        }

        async fn purge(
            &self,
            lifetimes: $crate::lifetimes::Lifetimes,
        ) -> Result<u64, $crate::error::Error> {
            // Sessions first: one that a dropped cut-off covers must not be there any more.
            while self
                .write($crate::store::statements::Path::Sync, move |writer| {
                    Box::pin(async move { writer.purge_ended(lifetimes).await })
                })
                .await?
            {}
            let mut purge = $crate::store::writer::Purge::new(lifetimes);
            while !purge.is_done() {
                purge = self
                    .write($crate::store::statements::Path::Sync, move |writer| {
                        Box::pin(async move { writer.purge(purge).await })
                    })
                    .await?;
            }
            Ok(purge.gone)
        }

        async fn enlist(
            &self,
            instance: &$crate::store::Instance,
        ) -> Result<(), $crate::error::Error> {
            fleet::enlist(self, instance).await
        }

        async fn acknowledge(
            &self,
            id: &$crate::scope::Id,
            applied: $crate::cutoff::StoreTime,
        ) -> Result<bool, $crate::error::Error> {
            fleet::acknowledge(self, id, applied).await
        }

        async fn roster(&self) -> Result<$crate::store::Roster, $crate::error::Error> {
            fleet::roster(self).await
        }

        async fn dismiss(
            &self,
            silent: &[$crate::store::Enlisted],
        ) -> Result<u64, $crate::error::Error> {
            fleet::dismiss(self, silent).await
        }

        fn statements(&self) -> $crate::store::StatementCounts {
            self.shared.statements.counts()
        }
    };
}
pub(super) use by_the_writer;
