//! A thread that answers requests in order, beside the pool.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::parallel;

/// A thread that answers requests in order. The caller bounds what is under way by what it sends. Dropping it
/// ends the thread after the requests already sent, and waits.
#[derive(Debug)]
pub struct Background<Q, A> {
    /// `None` only while it is being dropped.
    requests: Option<Sender<Q>>,
    /// In a lock so that the whole is `Sync`; only `&mut self` receives, so nobody ever waits for it.
    answers: Mutex<Receiver<A>>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Send + 'static, A: Send + 'static> Background<Q, A> {
    /// Starts the thread. Its kernels run on it alone, not in a pool.
    ///
    /// # Errors
    /// What the system reports when it has no thread to give.
    pub fn spawn(
        name: &str,
        mut work: impl FnMut(Q) -> A + Send + 'static,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = channel::<Q>();
        let (outbox, answers) = channel::<A>();
        let thread = Builder::new().name(name.into()).spawn(move || {
            parallel::alone(|| {
                for request in inbox {
                    if outbox.send(work(request)).is_err() {
                        break;
                    }
                }
            });
        })?;
        Ok(Self { requests: Some(requests), answers: Mutex::new(answers), thread: Some(thread) })
    }
}

impl<Q, A> Background<Q, A> {
    /// Hands over a request; without effect if the thread has died.
    pub fn send(&self, request: Q) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }

    /// Waits for the next answer; `None` if the thread has died.
    pub fn receive(&mut self) -> Option<A> {
        let answers = self.answers.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        answers.recv().ok()
    }
}

impl<Q, A> Drop for Background<Q, A> {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there was reported as a missing answer.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn answers_come_in_order_and_dropping_waits() {
        let done = Arc::new(AtomicUsize::new(0));
        let counter = done.clone();
        let mut thread = Background::spawn("test", move |x: usize| {
            counter.fetch_add(1, Ordering::SeqCst);
            2 * x
        })
        .expect("a thread");
        (0..5).for_each(|x| thread.send(x));
        assert_eq!([thread.receive(), thread.receive()], [Some(0), Some(2)]);
        drop(thread);
        assert_eq!(done.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn a_panic_is_a_missing_answer() {
        let mut thread = Background::spawn("test", |x: usize| 10 / x).expect("a thread");
        thread.send(5);
        thread.send(0);
        assert_eq!([thread.receive(), thread.receive(), thread.receive()], [Some(2), None, None]);
    }
}
