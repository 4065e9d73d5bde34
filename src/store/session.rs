//! What the store tells about sessions.

use std::{net::IpAddr, time::Duration};

use crate::scope::Id;

/// The longest label or user agent that is kept, in bytes of UTF-8.
pub const MAX_DEVICE_TEXT: usize = 512;

/// What is known of the device that a session is on: for people to tell their devices apart, and
/// for nothing else.
///
/// Texts are kept without control characters and cut at [`MAX_DEVICE_TEXT`] bytes. They are the
/// client's words: escape them where they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub(crate) label: Option<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
}

impl Device {
    /// A device of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name that its user has given it.
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Self {
        self.label = kept(label);
        self
    }

    /// The address that the request came from.
    #[must_use]
    pub fn with_ip(mut self, ip: IpAddr) -> Self {
        // One spelling for one address, whatever kind of socket it came through.
        self.ip = Some(ip.to_canonical());
        self
    }

    /// The header `User-Agent`.
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = kept(user_agent);
        self
    }

    /// The name that its user has given it.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The address that the last login or refresh came from.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The header `User-Agent` of the last login or refresh.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// What `seen` tells is kept where nothing was known.
    pub(super) fn learn(&mut self, seen: &Self) {
        let Self { label, ip, user_agent } = seen.clone();
        self.label = self.label.take().or(label);
        self.ip = self.ip.or(ip);
        self.user_agent = self.user_agent.take().or(user_agent);
    }

    /// What `seen` tells takes the place of what was known.
    pub(super) fn update(&mut self, seen: &Self) {
        let Self { label, ip, user_agent } = seen.clone();
        self.label = label.or(self.label.take());
        self.ip = ip.or(self.ip);
        self.user_agent = user_agent.or(self.user_agent.take());
    }
}

/// A text without control characters, cut where a character ends; nothing is left of an empty one.
fn kept(text: &str) -> Option<String> {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > MAX_DEVICE_TEXT {
            break;
        }
        kept.push(character);
    }
    (!kept.is_empty()).then_some(kept)
}

/// A session that is alive: one login on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id, the claim `sid`.
    pub id: Id,
    /// Whose it is.
    pub user: Id,
    /// Where it is.
    pub device: Device,
    /// When it was logged in, by the store's clock, since 1970.
    pub created_at: Duration,
    /// When it last got a refresh token, or was renewed, by the store's clock, since 1970.
    pub last_refresh_at: Duration,
}

/// Which sessions are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionFilter {
    /// The one with this id.
    Id(Id),
    /// Those of a user.
    User(Id),
    /// Those refreshed no longer ago than this, by the store's clock: who is online.
    RefreshedWithin(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_a_character_ends_and_lose_control_characters() {
        let device = Device::new().with_label("my\u{0} phone\r\n").with_user_agent("\u{7f}\t");
        assert_eq!((device.label(), device.user_agent()), (Some("my phone"), None));
        let long = "é".repeat(400);
        let device = Device::new().with_label(&long).with_user_agent(&format!("x{long}"));
        assert_eq!(device.label().map(str::len), Some(512));
        assert_eq!(device.user_agent().map(str::len), Some(511));
    }

    #[test]
    fn what_is_not_seen_again_stays() {
        let mut device = Device::new().with_label("phone").with_user_agent("old");
        device.update(&Device::new().with_user_agent("new").with_ip([127, 0, 0, 1].into()));
        assert_eq!((device.label(), device.user_agent()), (Some("phone"), Some("new")));
        assert_eq!(device.ip(), Some([127, 0, 0, 1].into()));
    }
}
