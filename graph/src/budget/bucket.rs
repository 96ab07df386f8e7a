//! One budget: places, and those who wait for one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::Lane;

/// A pause that is longer is waited for elsewhere: those who wait here hold up what has to do with other tenants.
const LONG: Duration = Duration::from_secs(1);

/// A place in a budget, to be kept until the answer is there. One that nothing was sent from is given back whole. The default
/// takes nothing from any budget.
#[derive(Debug, Default)]
pub struct Place {
    bucket: Option<Arc<Bucket>>,
    spent: bool,
}

impl Place {
    /// Something is about to be sent from it.
    pub(crate) fn spend(&mut self) {
        self.spent = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(bucket) = self.bucket.take() {
            bucket.left(self.spent);
        }
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    limit: usize,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    /// When the answers of this period came, oldest first.
    answered: VecDeque<Instant>,
    paused_until: Option<Instant>,
    /// By lane.
    waiting: [VecDeque<oneshot::Sender<Place>>; Lane::ALL.len()],
    /// Whether a task hands out places.
    served: bool,
}

impl Bucket {
    pub(super) fn new(limit: usize, period: Duration) -> Arc<Self> {
        Arc::new(Self { limit, period, state: Mutex::default() })
    }

    /// Waits for a place; `Err` tells how long Graph still wants to be left alone, where that is not worth waiting here for.
    pub(super) async fn place(self: &Arc<Self>, lane: Lane) -> Result<Place, Duration> {
        loop {
            let turn = {
                let mut state = self.state();
                let left = state.paused_until.map(|until| until.saturating_duration_since(Instant::now()));
                if let Some(left) = left.filter(|left| *left > LONG) {
                    return Err(left);
                }
                let (sender, turn) = oneshot::channel();
                if let Some(queue) = state.waiting.get_mut(lane as usize) {
                    queue.push_back(sender);
                }
                turn
            };
            self.serve();
            if let Ok(place) = turn.await {
                return Ok(place);
            }
        }
    }

    pub(super) fn pause(self: &Arc<Self>, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        state.paused_until = Some(state.paused_until.map_or(until, |before| before.max(until)));
        if time > LONG {
            // Sent away: whoever waits here keeps others from other work.
            state.waiting.iter_mut().for_each(VecDeque::clear);
        }
    }

    fn left(self: &Arc<Self>, spent: bool) {
        {
            let mut state = self.state();
            state.in_flight = state.in_flight.saturating_sub(1);
            if spent {
                state.answered.push_back(Instant::now());
            }
        }
        self.serve();
    }

    /// Hands out what is free now, and leaves the rest to a task that lives as long as somebody waits.
    fn serve(self: &Arc<Self>) {
        let Some(next) = self.hand_out() else { return };
        if std::mem::replace(&mut self.state().served, true) {
            return;
        }
        let bucket = Arc::clone(self);
        tokio::spawn(async move {
            let mut next = next;
            loop {
                tokio::time::sleep_until(next).await;
                if let Some(later) = bucket.hand_out() {
                    next = later;
                    continue;
                }
                let mut state = bucket.state();
                // Whoever came since then saw that places are handed out, and relies on it.
                if state.waiting.iter().all(VecDeque::is_empty) {
                    state.served = false;
                    return;
                }
                next = Instant::now();
            }
        });
    }

    /// Gives free places to those whose turn it is; says when to look again if somebody still waits.
    fn hand_out(self: &Arc<Self>) -> Option<Instant> {
        loop {
            let (sender, place) = {
                let mut state = self.state();
                let state = &mut *state;
                let now = Instant::now();
                while state.answered.front().is_some_and(|at| *at + self.period <= now) {
                    state.answered.pop_front();
                }
                for queue in &mut state.waiting {
                    queue.retain(|sender| !sender.is_closed());
                }
                let queue = state.waiting.iter_mut().find(|queue| !queue.is_empty())?;
                if let Some(until) = state.paused_until.filter(|until| *until > now) {
                    return Some(until);
                }
                if state.in_flight + state.answered.len() >= self.limit {
                    // With none answered, an answer wakes us; this is a look in case it is lost.
                    return Some(state.answered.front().map_or(now, |at| *at) + self.period);
                }
                let sender = queue.pop_front()?;
                state.in_flight += 1;
                (sender, Place { bucket: Some(Arc::clone(self)), spent: false })
            };
            // Whoever went away in this moment gives it back.
            drop(sender.send(place));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::JoinSet, time::sleep};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(20);

    /// A place that something is sent from.
    async fn taken(bucket: &Arc<Bucket>, lane: Lane) -> Place {
        let mut place = bucket.place(lane).await.unwrap();
        place.spend();
        place
    }

    #[tokio::test(start_paused = true)]
    async fn what_nothing_was_sent_from_costs_nothing() {
        let bucket = Bucket::new(1, PERIOD);
        let began = Instant::now();
        for _ in 0..10 {
            drop(bucket.place(Lane::New).await.unwrap());
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    /// Times at which requests that take that long start, and when they end.
    async fn starts(bucket: &Arc<Bucket>, count: usize, takes: Duration) -> Vec<(Instant, Instant)> {
        let mut all = JoinSet::new();
        for _ in 0..count {
            let bucket = Arc::clone(bucket);
            all.spawn(async move {
                let place = taken(&bucket, Lane::New).await;
                let start = Instant::now();
                sleep(takes).await;
                drop(place);
                (start, Instant::now())
            });
        }
        all.join_all().await
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_holds_more_than_the_budget_wherever_in_its_flight_a_request_arrives() {
        for takes in [0, 1, 700, 30_000] {
            let bucket = Bucket::new(50, PERIOD);
            let all = starts(&bucket, 170, Duration::from_millis(takes)).await;
            // The worst case for Graph: early ones arrive at their end, late ones at their start.
            for (_, end) in &all {
                let within = all.iter().filter(|(start, late)| late >= end && *start < *end + PERIOD).count();
                assert!(within <= 50, "{within} of {takes} ms");
            }
            let first = all.iter().map(|(start, _)| *start).min().unwrap();
            let last = all.iter().map(|(_, end)| *end).max().unwrap();
            let shortest = PERIOD * 3;
            assert!(last - first >= shortest, "{takes}: {:?}", last - first);
            assert!(
                last - first <= shortest + Duration::from_millis(takes + 10) * 4,
                "{takes}: {:?}",
                last - first
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn higher_lanes_go_first_and_each_lane_in_order() {
        let bucket = Bucket::new(1, PERIOD);
        drop(taken(&bucket, Lane::Resync).await);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = JoinSet::new();
        for (number, lane) in [Lane::Resync, Lane::Renewal, Lane::New, Lane::Delete, Lane::Renewal, Lane::New]
            .into_iter()
            .enumerate()
        {
            let (task, order) = (Arc::clone(&bucket), Arc::clone(&order));
            all.spawn(async move {
                drop(taken(&task, lane).await);
                order.lock().unwrap().push((lane, number));
            });
            // Each is in the queue before the next one comes.
            while bucket.state().waiting.iter().map(VecDeque::len).sum::<usize>() <= number {
                tokio::task::yield_now().await;
            }
        }
        all.join_all().await;
        let expected = [
            (Lane::New, 2),
            (Lane::New, 5),
            (Lane::Delete, 3),
            (Lane::Renewal, 1),
            (Lane::Renewal, 4),
            (Lane::Resync, 0),
        ];
        assert_eq!(*order.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_away_takes_nothing() {
        let bucket = Bucket::new(1, PERIOD);
        let began = Instant::now();
        drop(taken(&bucket, Lane::New).await);
        for _ in 0..5 {
            let waiting = tokio::time::timeout(Duration::from_secs(1), bucket.place(Lane::New)).await;
            assert!(waiting.is_err());
        }
        drop(taken(&bucket, Lane::Resync).await);
        assert!(began.elapsed() < PERIOD + Duration::from_millis(10), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_waited_for_to_the_moment() {
        let bucket = Bucket::new(10, PERIOD);
        let began = Instant::now();
        bucket.pause(Duration::from_millis(700));
        bucket.pause(Duration::from_millis(300));
        drop(taken(&bucket, Lane::New).await);
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(700) && waited < Duration::from_millis(710), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_sends_everybody_away_with_the_time_that_is_left() {
        let bucket = Bucket::new(1, PERIOD);
        drop(taken(&bucket, Lane::New).await);
        let waiting = tokio::spawn({
            let bucket = Arc::clone(&bucket);
            async move { bucket.place(Lane::Delete).await }
        });
        while bucket.state().waiting.iter().all(VecDeque::is_empty) {
            tokio::task::yield_now().await;
        }
        bucket.pause(Duration::from_mins(5));
        assert_eq!(waiting.await.unwrap().unwrap_err(), Duration::from_mins(5));
        sleep(Duration::from_secs(100)).await;
        assert_eq!(bucket.place(Lane::New).await.unwrap_err(), Duration::from_secs(200));
        sleep(Duration::from_secs(200)).await;
        drop(taken(&bucket, Lane::New).await);
    }
}
