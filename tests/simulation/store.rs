//! The store as an instance sees it: a message to the database, and its answer, if all goes well.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};
use tower_revocation::{
    EpochStore, Id, Scope,
    cutoff::{Receipt, StoreTime},
    error::{Error, ErrorKind},
    lifetimes::Lifetimes,
    store::{
        Audit, Changes, Enlisted, Instance, Judged, Latest, MemoryStore, MemoryTransaction, Mint,
        MintFor, Minted, RequestId, Requested, Revocation, Roster, Session, SessionFilter, Source,
        StatementCounts, Ticket, Watch,
    },
};

use crate::{
    coverage::Operation,
    network::{Asked, Loss, Notice, Reached},
    world::World,
};

/// The database, by the network of one instance.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) world: Arc<World>,
    pub(crate) instance: usize,
    pub(crate) boot: u32,
}

impl Remote {
    /// Has the primary do `work`. `note` tells the facts of it, at the moment when it is done.
    pub(crate) async fn call<T, F, Fut, N>(&self, work: F, note: N) -> Result<T, Error>
    where
        F: FnOnce(MemoryStore) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
        N: FnOnce(&World, &Result<T, Error>),
    {
        let note = |world: &World, done: &Result<T, Error>| {
            world.executed();
            note(world, done);
            world.tell_news();
        };
        self.send(Asked::Primary, |reached| work(reached.store), note).await
    }

    /// The same for what has nothing to do with revocations: it seals none.
    async fn call_the_roster<T, F, Fut>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(MemoryStore) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        self.send(Asked::Primary, |reached| work(reached.store), |_, _| {}).await
    }

    /// Has whatever database the instance is connected to do `work`.
    async fn read<T, F, Fut>(&self, asked: Asked, work: F) -> Result<T, Error>
    where
        F: FnOnce(Reached) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let note = |world: &World, _: &Result<T, Error>| {
            world.executed();
            world.tell_news();
        };
        self.send(asked, work, note).await
    }

    async fn send<T, F, Fut, N>(&self, asked: Asked, work: F, note: N) -> Result<T, Error>
    where
        F: FnOnce(Reached) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
        N: FnOnce(&World, &Result<T, Error>),
    {
        let Self { world, instance, boot } = self;
        world.running(*instance, *boot).await;
        let fate = world.fate(*instance);
        sleep(fate.there).await;
        let answer = match fate.lost {
            Some(Loss::Request) => Err(ErrorKind::Store.into()),
            _ => match world.reached(*instance, asked) {
                None => Err(ErrorKind::Store.into()),
                Some(reached) => {
                    let of_primary = reached.behind.is_none();
                    let answer = work(reached).await;
                    if of_primary {
                        note(world, &answer);
                    }
                    answer
                }
            },
        };
        if fate.lost == Some(Loss::Silence) {
            std::future::pending::<()>().await;
        }
        sleep(fate.back).await;
        world.running(*instance, *boot).await;
        match fate.lost {
            Some(Loss::Answer) => Err(ErrorKind::Store.into()),
            _ => answer,
        }
    }

    fn range(&self) -> Duration {
        self.world.database.range()
    }
}

impl Remote {
    /// Revokes, and tells where among the facts that stands.
    pub(crate) async fn revoke_noted(
        &self,
        revocation: Revocation,
    ) -> Result<(usize, Receipt), Error> {
        let spared = revocation.spared().cloned();
        let index = self.world.call(revocation.scope(), revocation.demand(), spared);
        let receipt = self.call(
            |store| async move { store.revoke(revocation).await },
            |world, done| {
                if let Ok(receipt) = done {
                    world.sealed(index, receipt.revoked_before());
                }
            },
        );
        let receipt = receipt.await?;
        self.world.returned(index);
        Ok((index, receipt))
    }
}

impl EpochStore for Remote {
    type Transaction<'t> = MemoryTransaction<'t>;
    type Watch = RemoteWatch;

    async fn revoke_many(&self, revocations: &[Revocation]) -> Result<Receipt, Error> {
        let [revocation] = revocations else {
            return Err(Error::from(ErrorKind::Store));
        };
        Ok(self.revoke_noted(revocation.clone()).await?.1)
    }

    /// The clients of this simulation request on the primary's own connection.
    async fn revoke_in<'t>(
        &self,
        _: &mut Self::Transaction<'t>,
        _: Revocation,
    ) -> Result<Requested<Self>, Error> {
        Err(ErrorKind::Store.into())
    }

    async fn seal(&self, id: &RequestId) -> Result<Receipt, Error> {
        let id = id.clone();
        self.call(|store| async move { store.seal(&id).await }, |_, _| {}).await
    }

    async fn clear(&self, _: &Scope, _: Audit) -> Result<Receipt, Error> {
        // Nothing is cleared here: it is the one way to lower a cut-off.
        Err(ErrorKind::Store.into())
    }

    async fn ticket(&self) -> Result<Ticket, Error> {
        self.call(|store| async move { store.ticket().await }, |_, _| {}).await
    }

    async fn mint(&self, mint: &Mint) -> Result<Minted, Error> {
        let renewal = matches!(mint.session, MintFor::Renew(_));
        let _underway = renewal.then(|| self.world.begin(Operation::Renewal, self.instance));
        let (asked, range) = (mint.clone(), self.range());
        let minted = self.call(
            |store| async move { store.mint(&asked).await },
            |world, minted| world.minted(mint, minted, range),
        );
        minted.await
    }

    async fn sessions(
        &self,
        filter: &SessionFilter,
        lifetimes: Lifetimes,
    ) -> Result<Vec<Session>, Error> {
        let filter = filter.clone();
        let sessions =
            self.call(|store| async move { store.sessions(&filter, lifetimes).await }, |_, _| {});
        sessions.await
    }

    async fn judged(&self, scopes: &[Scope]) -> Result<Judged, Error> {
        let scopes = scopes.to_vec();
        let judged = self.read(Asked::Any, |reached| async move {
            let judged = reached.store.judged(&scopes).await?;
            Ok(Judged { primary: reached.behind.is_none(), ..judged })
        });
        judged.await
    }

    async fn advance(&self, newest: StoreTime) -> Result<(), Error> {
        let advanced = self.call(
            |store| async move { store.advance(newest).await },
            |world, advanced| {
                if advanced.is_ok() {
                    world.advanced(newest);
                }
            },
        );
        advanced.await
    }

    async fn purge(&self, lifetimes: Lifetimes) -> Result<u64, Error> {
        let _underway = self.world.begin(Operation::Purge, self.instance);
        let purged = self.call(
            |store| async move { store.purge(lifetimes).await },
            |world, _| world.purged(lifetimes),
        );
        purged.await
    }

    async fn enlist(&self, instance: &Instance) -> Result<(), Error> {
        let instance = instance.clone();
        self.call_the_roster(|store| async move { store.enlist(&instance).await }).await
    }

    async fn acknowledge(&self, id: &Id, applied: StoreTime) -> Result<bool, Error> {
        let id = id.clone();
        self.call_the_roster(|store| async move { store.acknowledge(&id, applied).await }).await
    }

    async fn roster(&self) -> Result<Roster, Error> {
        self.call_the_roster(|store| async move { store.roster().await }).await
    }

    async fn dismiss(&self, silent: &[Enlisted]) -> Result<u64, Error> {
        let silent = silent.to_vec();
        self.call_the_roster(|store| async move { store.dismiss(&silent).await }).await
    }

    async fn watch(&self) -> Result<RemoteWatch, Error> {
        let connection =
            self.read(Asked::Any, |reached| async move { Ok(reached.generation) }).await?;
        let notices = self.world.listen(self.instance);
        Ok(RemoteWatch { remote: self.clone(), connection, notices, heard: false, deaf: false })
    }

    fn statements(&self) -> StatementCounts {
        StatementCounts::default()
    }
}

/// The connection of an instance's sync.
pub(crate) struct RemoteWatch {
    remote: Remote,
    /// The generation of the database that it was made to.
    connection: u32,
    notices: UnboundedReceiver<Notice>,
    /// A hint has come that nobody was told of.
    heard: bool,
    /// The listener is gone, and has said so.
    deaf: bool,
}

impl RemoteWatch {
    async fn ask<F, Fut>(&self, operation: Operation, work: F) -> Result<Changes, Error>
    where
        F: FnOnce(MemoryStore) -> Fut,
        Fut: Future<Output = Result<Latest, Error>>,
    {
        self.ask_latest(operation, work).await.map(|latest| latest.changes)
    }

    async fn ask_latest<F, Fut>(&self, operation: Operation, work: F) -> Result<Latest, Error>
    where
        F: FnOnce(MemoryStore) -> Fut,
        Fut: Future<Output = Result<Latest, Error>>,
    {
        let Remote { world, instance, boot } = &self.remote;
        let _underway = world.begin(operation, *instance);
        let latest = self.remote.read(Asked::Over(self.connection), |reached| {
            let Reached { store, behind, heartbeat, .. } = reached;
            let latest = work(store);
            async move {
                let mut latest = latest.await?;
                if let Some(behind) = behind {
                    let behind = heartbeat.then_some(behind);
                    latest.changes.source = Source::Replica { behind };
                }
                Ok(latest)
            }
        });
        let latest = latest.await?;
        if operation == Operation::Load {
            world.loaded(*instance, *boot);
        }
        Ok(latest)
    }
}

impl Watch for RemoteWatch {
    async fn load(&mut self) -> Result<Changes, Error> {
        let all = |store: MemoryStore| async move {
            Ok(Latest { changes: store.watch().await?.load().await?, untold: StoreTime::ZERO })
        };
        self.ask(Operation::Load, all).await
    }

    async fn poll(&mut self, cursor: StoreTime) -> Result<Changes, Error> {
        let news = move |store: MemoryStore| async move {
            let changes = store.watch().await?.poll(cursor).await?;
            Ok(Latest { changes, untold: StoreTime::ZERO })
        };
        self.ask(Operation::Poll, news).await
    }

    async fn latest(&mut self, cursor: StoreTime, at_most: u32) -> Result<Latest, Error> {
        let operation = if cursor == StoreTime::ZERO { Operation::Load } else { Operation::Poll };
        let latest = move |store: MemoryStore| async move {
            store.watch().await?.latest(cursor, at_most).await
        };
        self.ask_latest(operation, latest).await
    }

    async fn hint(&mut self) -> Result<(), Error> {
        if !self.heard && !self.deaf {
            match self.notices.recv().await {
                Some(Notice::Hint) => self.heard = true,
                // Another listener has taken its place, which nobody tells it.
                None => self.deaf = true,
                Some(Notice::Lost) => {
                    self.deaf = true;
                    return Err(ErrorKind::Store.into());
                }
            }
        }
        if !self.heard {
            std::future::pending::<()>().await;
        }
        self.remote.world.running(self.remote.instance, self.remote.boot).await;
        self.heard = false;
        Ok(())
    }
}
