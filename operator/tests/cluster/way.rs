//! A way to Graph on which connections can be held up before a byte of them passes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::site::until;

/// A connection that has not ended by itself by then carries nothing: a pool may keep it for long.
const QUIET: Duration = Duration::from_secs(3);

/// What happens to connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Pass,
    /// Those that there are break, and new ones are held.
    HoldNew,
}

/// A port that is taken, before it is known where it leads.
pub struct Bound {
    pub origin: String,
    listener: TcpListener,
}

pub struct GraphWay {
    rule: Arc<watch::Sender<Rule>>,
    released: Arc<watch::Sender<bool>>,
    held: Arc<AtomicUsize>,
    /// Released connections that are not done yet.
    under_way: Arc<AtomicUsize>,
}

impl GraphWay {
    pub async fn bind() -> Bound {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Bound { origin: format!("https://{}", listener.local_addr().unwrap()), listener }
    }

    /// Breaks every connection, so that whoever sends needs a new one, and lets none of those through.
    pub fn hold_new_connections(&self) {
        self.rule.send_replace(Rule::HoldNew);
    }

    /// Lets through those that are opened from now on; those that are held stay so.
    pub fn pass_new_connections(&self) {
        self.rule.send_replace(Rule::Pass);
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Lets through those that were held.
    pub fn release(&self) {
        self.under_way.store(self.held(), Ordering::SeqCst);
        self.released.send_replace(true);
    }

    /// Waits until those that were held have ended or carry nothing for a while.
    pub async fn at_rest(&self) {
        until("the end of what was held", async || match self.under_way.load(Ordering::SeqCst) {
            0 => Ok(()),
            left => Err(left.to_string()),
        })
        .await;
    }
}

impl Bound {
    pub fn lead_to(self, target: &str) -> GraphWay {
        let way = GraphWay {
            rule: Arc::new(watch::Sender::new(Rule::Pass)),
            released: Arc::new(watch::Sender::new(false)),
            held: Arc::default(),
            under_way: Arc::default(),
        };
        let (rule, released, held, under_way, target) = (
            Arc::clone(&way.rule),
            Arc::clone(&way.released),
            Arc::clone(&way.held),
            Arc::clone(&way.under_way),
            target.to_owned(),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.listener.accept().await {
                let (mut rule, target) = (rule.subscribe(), target.clone());
                if *rule.borrow_and_update() == Rule::HoldNew {
                    held.fetch_add(1, Ordering::SeqCst);
                    let (mut released, under_way) = (released.subscribe(), Arc::clone(&under_way));
                    tokio::spawn(async move {
                        if released.wait_for(|released| *released).await.is_ok() {
                            drop(tokio::time::timeout(QUIET, pass(stream, target)).await);
                            under_way.fetch_sub(1, Ordering::SeqCst);
                        }
                    });
                } else {
                    tokio::spawn(async move {
                        tokio::select! {
                            () = pass(stream, target) => {}
                            _broken = rule.wait_for(|rule| *rule == Rule::HoldNew) => {}
                        }
                    });
                }
            }
        });
        way
    }
}

async fn pass(mut stream: TcpStream, target: String) {
    let Ok(mut onward) = TcpStream::connect(target).await else { return };
    drop(copy_bidirectional(&mut stream, &mut onward).await);
}
