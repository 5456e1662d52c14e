//! Ctrl-C and SIGTERM: once for a stop in good order, twice for one at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a program that a signal ended, by the shells' custom.
const INTERRUPTED: i32 = 130;

/// Is cancelled by the first signal; the second ends the process.
///
/// # Errors
/// If the system does not let signals be handled.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        eprintln!("stopping in good order; once more stops at once");
        first.cancel();
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
