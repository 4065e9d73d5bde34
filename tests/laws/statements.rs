//! Counts statements where they arrive: in SQLite itself, whoever sends them.

#![allow(unsafe_code, reason = "sqlite3_trace_v2 has no safe binding")]

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    path::Path,
    ptr,
    sync::{LazyLock, Mutex, Once, PoisonError},
};

use libsqlite3_sys as sqlite;

/// Statements begun, by database file.
static BEGUN: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

/// Counts the statements of every connection that this process opens from now on.
pub(crate) fn count_from_now_on() {
    static ONCE: Once = Once::new();
    // SAFETY: `trace` has the signature of an extension's entry point, and lives for ever.
    ONCE.call_once(|| unsafe {
        sqlite::sqlite3_auto_extension(Some(trace));
    });
}

/// Statements begun on the database at `path`.
pub(crate) fn begun(path: &Path) -> u64 {
    let path = path.canonicalize().unwrap();
    let begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    begun.get(path.to_str().unwrap()).copied().unwrap_or_default()
}

unsafe extern "C" fn trace(
    database: *mut sqlite::sqlite3,
    _message: *mut *mut c_char,
    _api: *const sqlite::sqlite3_api_routines,
) -> c_int {
    let statements = sqlite::SQLITE_TRACE_STMT as c_uint;
    // SAFETY: SQLite hands us the connection it is opening; `begin` matches the mask's signature.
    unsafe { sqlite::sqlite3_trace_v2(database, statements, Some(begin), ptr::null_mut()) }
}

unsafe extern "C" fn begin(
    _event: c_uint,
    _context: *mut c_void,
    statement: *mut c_void,
    _sql: *mut c_void,
) -> c_int {
    // SAFETY: for SQLITE_TRACE_STMT the third argument is the statement, which is alive, and so
    // is its connection; the file name lives as long as that.
    let name = unsafe {
        let database = sqlite::sqlite3_db_handle(statement.cast());
        sqlite::sqlite3_db_filename(database, c"main".as_ptr())
    };
    if !name.is_null() {
        // SAFETY: not null, and SQLite's file names end in NUL.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        *BEGUN.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }
    0
}
