//! Logins, tokens and what they may not do.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::head::state::tests::state;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 9));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 66));

fn wish(name: &str, scope: Scope, days: Option<u32>) -> TokenWish {
    TokenWish { name: name.parse().expect("a name"), scope, days }
}

fn audited(state: &mut State) -> Vec<String> {
    let writes = state.take_writes().into_iter();
    let line = |write| if let Write::Audit(line) = write { Some(line) } else { None };
    writes
        .filter_map(line)
        .map(|line| format!("{} {} {} {}", line.id, line.who, line.from, line.action))
        .collect()
}

#[test]
fn a_one_time_login_opens_one_session_and_an_hour_ends_it() {
    let mut state = state();
    let root = Principal::of_socket(Some(0));
    assert!(state.is_unclaimed());
    let (old, _) = state.make_login(&root).expect("made");
    let (login, _) = state.make_login(&root).expect("made");
    assert!(state.log_in_once(old.expose(), CLIENT).is_none(), "a newer one replaced it");
    assert!(state.principal(login.expose(), TokenKind::Token, CLIENT).is_none(), "a login is no token");
    assert!(state.principal(login.expose(), TokenKind::Session, CLIENT).is_none(), "and no session");
    assert!(state.is_unclaimed(), "nobody used it yet");
    let (view, session) = state.log_in_once(login.expose(), CLIENT).expect("a session");
    assert_eq!((view.name.as_str(), view.scope, view.kind), ("admin", Scope::Admin, TokenKind::Session));
    assert!(state.log_in_once(login.expose(), CLIENT).is_none(), "replayed");
    assert!(!state.is_unclaimed());
    assert!(state.principal(session.expose(), TokenKind::Session, CLIENT).is_some());
    assert!(state.principal(session.expose(), TokenKind::Token, CLIENT).is_none(), "a cookie is no header");
    state.now_ms += SESSION_MS;
    assert!(state.principal(session.expose(), TokenKind::Session, CLIENT).is_none(), "it ended");
    let (late, until_ms) = state.make_login(&root).expect("made");
    state.now_ms = until_ms;
    assert!(state.log_in_once(late.expose(), CLIENT).is_none(), "an hour is over");
    let told = audited(&mut state);
    assert_eq!(told[..2], ["1 root socket login-create", "2 root socket login-create"]);
    assert_eq!(told[2], "3 admin 10.78.0.9 login");
}

#[test]
fn a_token_has_its_scope_until_it_is_revoked_or_ends() {
    let mut state = state();
    let root = Principal::of_socket(Some(1_000));
    let made = state.make_token(&root, &wish("ci", Scope::Write, Some(2))).expect("made");
    let known = |state: &State| state.principal(&made.secret, TokenKind::Token, CLIENT);
    let who = known(&state).expect("known");
    assert_eq!((who.name.as_str(), who.scope, who.place()), ("ci", Scope::Write, "10.78.0.9".to_owned()));
    assert!(state.principal(&made.secret[..made.secret.len() - 1], TokenKind::Token, CLIENT).is_none());
    assert_eq!(state.tokens(), std::slice::from_ref(&made.token));
    state.now_ms += 2 * DAY_MS;
    assert!(known(&state).is_none(), "two days are over");
    assert_eq!(state.tokens(), []);
    let made = state.make_token(&root, &wish("ci", Scope::Read, None)).expect("made");
    state.revoke(&root, &made.token.id).expect("it is there");
    assert!(state.principal(&made.secret, TokenKind::Token, CLIENT).is_none());
    assert!(matches!(state.revoke(&root, &made.token.id), Err(Refusal::NotThere(_))));
    assert!(matches!(state.make_token(&root, &wish("ci", Scope::Read, Some(0))), Err(Refusal::Wrong(_))));
    let kept = format!("{:?}", state.take_writes());
    assert!(!kept.contains(&made.secret), "the store has hashes only");
}

#[test]
fn who_guesses_is_stopped_and_does_not_stop_others_at_once() {
    let mut state = state();
    for _ in 0..FAILURES_LIMIT {
        assert!(state.may_log_in(STRANGER));
    }
    assert!(!state.may_log_in(STRANGER));
    assert!(state.may_log_in(CLIENT), "another address");
    state.now_ms += FAILURES_MS;
    assert!(state.may_log_in(STRANGER), "a minute later");
    for last in 1..=200 {
        state.may_log_in(IpAddr::V4(Ipv4Addr::new(10, 78, 1, last)));
    }
    assert!(state.keys.failures.len() <= ALL_FAILURES_LIMIT as usize, "a network of guessers fills nothing");
}

#[test]
fn a_password_that_is_changed_ends_the_account_s_other_sessions() {
    let mut state = state();
    let root = Principal::of_socket(Some(0));
    let account = |password: &str| Account {
        name: "ada".to_owned(),
        scope: Scope::Write,
        set_ms: 0,
        password: password.to_owned(),
    };
    state.set_account(&root, account("hash one")).expect("made");
    assert_eq!(state.password_of("ada").as_deref(), Some("hash one"));
    let (_, one) = state.log_in_with_password("ada", CLIENT).expect("a session");
    let (_, other) = state.log_in_with_password("ada", STRANGER).expect("a session");
    let who = state.principal(one.expose(), TokenKind::Session, CLIENT).expect("known");
    state.set_account(&who, account("hash two")).expect("changed");
    assert!(state.principal(one.expose(), TokenKind::Session, CLIENT).is_some(), "who changed it goes on");
    assert!(state.principal(other.expose(), TokenKind::Session, STRANGER).is_none());
    state.remove_account(&root, "ada").expect("removed");
    assert!(state.principal(one.expose(), TokenKind::Session, CLIENT).is_none());
    assert!(state.log_in_with_password("ada", CLIENT).is_none());
    assert!(matches!(state.remove_account(&root, "ada"), Err(Refusal::NotThere(_))));
}

#[test]
fn what_an_audit_line_says_is_short_and_steers_no_terminal() {
    let mut state = state();
    let root = Principal::of_socket(None);
    state.audit(&root, "set", "a\u{1b}[2J", &"x".repeat(9_000));
    let Some(Write::Audit(line)) = state.take_writes().pop() else { panic!("no line") };
    assert_eq!((line.subject.as_str(), line.detail.len()), ("a[2J", DETAIL_LIMIT));
}
