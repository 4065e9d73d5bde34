//! Every store answers what the layer asks while its copy is stale.

use super::{EpochStore, Judged, SessionFilter};
use crate::{
    error::{Error, ErrorKind},
    layer::{Answer, Confirm},
    lifetimes::Lifetimes,
    scope::{Id, Scope},
};

impl<S: EpochStore> Confirm for S {
    async fn confirm(&self, scopes: &[Scope]) -> Result<Answer, Error> {
        let Judged { cut_off, clock, newest, primary } = self.judged(scopes).await?;
        if !primary {
            return Err(Error::new(ErrorKind::Store, "a replica proves nothing"));
        }
        // Written past the clock row: believing it would refuse tokens that no revocation covers.
        if cut_off.revoked_before() > newest {
            return Err(Error::new(ErrorKind::Corrupt, "a cut-off lies above newest"));
        }
        Ok(Answer { cut_off, clock, newest })
    }

    async fn lives(&self, session: &Id, user: &Id, lifetimes: Lifetimes) -> Result<bool, Error> {
        let found = self.sessions(&SessionFilter::Id(session.clone()), lifetimes).await?;
        Ok(found.iter().any(|found| found.user == *user))
    }
}
