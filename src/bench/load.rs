//! The two ways to load a service.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{caller::Caller, latency::Measured};

/// How long to wait for answers after the last call was sent: longer than a call's usual deadline.
const PATIENCE: Duration = Duration::from_secs(15);
/// Calls an open loop lets wait at once; what is due beyond is not sent, but counted.
const OUTSTANDING: u32 = 10_000;

/// How to load.
#[derive(Clone, Copy, Debug)]
pub enum Loop {
    /// So many callers, each of whom asks again when it has its answer. What the service is slow to answer is not asked, so
    /// its latencies are those of the calls that were made, not of those that would have been.
    Closed(u32),
    /// So many calls a second, each at its time, however slow the service is. A call's latency counts from when it was due,
    /// so that one that had to wait for others has waited (corrected for coordinated omission).
    Open(f64),
}

impl Loop {
    /// Loads for `time`, waits for the last answers, and gives what was measured.
    pub async fn run(self, caller: &Arc<Caller>, time: Duration) -> Measured {
        let measured = Arc::new(Mutex::new(Measured::new(Instant::now())));
        match self {
            Self::Closed(in_flight) => closed(caller, in_flight, time, &measured).await,
            Self::Open(rate) => open(caller, rate, time, &measured).await,
        }
        // A call that never came back still holds the other half.
        let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut measured, Measured::new(Instant::now()))
    }
}

type Shared = Arc<Mutex<Measured>>;

/// One call, which was due at `due`.
fn call(caller: &Arc<Caller>, measured: &Shared, due: Instant) -> impl Future<Output = ()> + use<> {
    let (caller, measured) = (Arc::clone(caller), Arc::clone(measured));
    async move {
        let (kind, outcome) = caller.call().await;
        measured.lock().unwrap_or_else(PoisonError::into_inner).add(kind, outcome, due, Instant::now());
    }
}

async fn closed(caller: &Arc<Caller>, in_flight: u32, time: Duration, measured: &Shared) {
    let until = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (caller, measured) = (Arc::clone(caller), Arc::clone(measured));
        callers.spawn(async move {
            while Instant::now() < until {
                call(&caller, &measured, Instant::now()).await;
            }
        });
    }
    let all = async { while callers.join_next().await.is_some() {} };
    if timeout(time + PATIENCE, all).await.is_err() {
        measured.lock().unwrap_or_else(PoisonError::into_inner).unanswered = callers.len() as u64;
    }
}

async fn open(caller: &Arc<Caller>, rate: f64, time: Duration, measured: &Shared) {
    let outstanding = Arc::new(Semaphore::new(OUTSTANDING as usize));
    let (caller, shared, places) = (Arc::clone(caller), Arc::clone(measured), Arc::clone(&outstanding));
    let runtime = Handle::current();
    // A thread of its own keeps the times: the runtime's timer is no finer than a millisecond, and may be busy.
    let scheduled = spawn_blocking(move || {
        let begin = Instant::now();
        let mut dropped = 0;
        for number in 0..(rate * time.as_secs_f64()).round() as u64 {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let call = call(&caller, &shared, due);
                    runtime.spawn(async move {
                        call.await;
                        drop(place);
                    });
                }
                Err(_) => dropped += 1,
            }
        }
        dropped
    });
    let dropped = scheduled.await.unwrap_or_default();
    let all = timeout(PATIENCE, outstanding.acquire_many(OUTSTANDING)).await;
    let unanswered = if all.is_err() { OUTSTANDING as usize - outstanding.available_permits() } else { 0 };
    let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
    measured.dropped = dropped;
    measured.unanswered = unanswered as u64;
}
