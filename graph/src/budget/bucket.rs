//! One budget: places, and those who wait for one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::Lane;

/// What takes longer is waited for elsewhere: those who wait here hold up what has to do with other tenants, and in a higher lane.
const LONG: Duration = Duration::from_secs(1);

/// Why somebody is sent away, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    /// Graph wants to be left alone for that long.
    Paused(Duration),
    /// The budget is used up, and so long is the way to the place that is kept in mind.
    Exhausted(Duration),
}

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
    /// By lane: when those who were sent away come back, earliest first.
    expected: [VecDeque<Instant>; Lane::ALL.len()],
    /// Whether a task hands out places.
    served: bool,
}

impl Bucket {
    pub(super) fn new(limit: usize, period: Duration) -> Arc<Self> {
        Arc::new(Self { limit, period, state: Mutex::default() })
    }

    /// Waits for a place; `Err` tells when to come back, where that is not worth waiting here for.
    pub(super) async fn place(self: &Arc<Self>, lane: Lane) -> Result<Place, Away> {
        loop {
            let turn = {
                let mut state = self.state();
                let now = Instant::now();
                let left = state.paused_until.map(|until| until.saturating_duration_since(now));
                if let Some(left) = left.filter(|left| *left > LONG) {
                    return Err(Away::Paused(left));
                }
                if let Some(left) = self.far(&mut state, lane, now) {
                    return Err(Away::Exhausted(left));
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

    /// How long the way to a place is, if it is long. When places come is known: each answer leaves the period at its time, and
    /// whoever takes its place leaves a period later. Those who were sent away before take theirs first, and nobody waits for
    /// whoever is expected later than the place comes.
    fn far(&self, state: &mut State, lane: Lane, now: Instant) -> Option<Duration> {
        state.forget(now, self.period);
        let occupied = state.in_flight + state.answered.len();
        let free = self.limit.saturating_sub(occupied);
        let waiting: usize = state.waiting.iter().take(lane as usize + 1).map(VecDeque::len).sum();
        let comes = |number: usize| {
            let rounds = u32::try_from(number / occupied).unwrap_or(u32::MAX).saturating_add(1);
            let since = state.answered.get(number % occupied).copied().unwrap_or(now);
            self.period
                .checked_mul(rounds)
                .and_then(|way| since.checked_add(way))
                .unwrap_or(now + self.period)
        };
        if occupied == 0 || waiting < free || comes(waiting - free) <= now + LONG {
            return None;
        }
        let first = waiting - free;
        let before = |time: Instant| -> usize {
            let lanes = state.expected.iter().take(lane as usize + 1);
            lanes.map(|expected| expected.partition_point(|at| *at <= time)).sum()
        };
        let mut number = first;
        let at = loop {
            let at = comes(number);
            // Each round goes on to a later place, and behind the last who is expected there is one.
            match first + before(at) {
                taken if taken > number => number = taken,
                _ => break at,
            }
        };
        let expected = state.expected.get_mut(lane as usize)?;
        let place = expected.partition_point(|other| *other <= at);
        expected.insert(place, at);
        Some(at - now)
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
                state.forget(now, self.period);
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

impl State {
    /// What lies behind counts no more.
    fn forget(&mut self, now: Instant, period: Duration) {
        while self.answered.front().is_some_and(|at| *at + period <= now) {
            self.answered.pop_front();
        }
        for expected in &mut self.expected {
            while expected.front().is_some_and(|at| *at <= now) {
                expected.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{task::JoinSet, time::sleep};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(20);

    /// A place that something is sent from, after coming back as often as that is asked for.
    async fn taken(bucket: &Arc<Bucket>, lane: Lane) -> Place {
        loop {
            match bucket.place(lane).await {
                Ok(mut place) => {
                    place.spend();
                    return place;
                }
                Err(Away::Paused(left) | Away::Exhausted(left)) => sleep(left).await,
            }
        }
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
        // Short enough to be waited for.
        let bucket = Bucket::new(1, LONG / 10);
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
        let period = LONG / 2;
        let bucket = Bucket::new(1, period);
        let began = Instant::now();
        drop(taken(&bucket, Lane::New).await);
        for _ in 0..5 {
            let waiting = tokio::time::timeout(period / 10, bucket.place(Lane::New)).await;
            assert!(waiting.is_err());
        }
        drop(taken(&bucket, Lane::Resync).await);
        assert!(began.elapsed() < period + Duration::from_millis(10), "{:?}", began.elapsed());
    }

    /// Nobody who has long to wait stands in the way, and each is told a time at which there is a place.
    #[tokio::test(start_paused = true)]
    async fn whoever_has_long_to_wait_is_told_when_to_come_back() {
        let bucket = Bucket::new(2, PERIOD);
        for _ in 0..2 {
            drop(taken(&bucket, Lane::Renewal).await);
            sleep(Duration::from_secs(3)).await;
        }
        let away = async |lane| match bucket.place(lane).await {
            Err(Away::Exhausted(left)) => left.as_secs(),
            other => panic!("{other:?}"),
        };
        // The answers leave the period 14 and 17 seconds from now.
        let renewals = [away(Lane::Renewal).await, away(Lane::Renewal).await, away(Lane::Renewal).await];
        assert_eq!(renewals, [14, 17, 34]);
        assert_eq!(away(Lane::New).await, 14, "a higher lane does not queue behind them");
        assert_eq!(away(Lane::Resync).await, 54, "a lower one does");
        sleep(Duration::from_secs(14)).await;
        drop(taken(&bucket, Lane::New).await);
        assert_eq!(away(Lane::Renewal).await, 23, "its place went to a higher lane: there is another");
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
        sleep(PERIOD.checked_sub(LONG / 2).unwrap()).await;
        let waiting = tokio::spawn({
            let bucket = Arc::clone(&bucket);
            async move { bucket.place(Lane::Delete).await }
        });
        while bucket.state().waiting.iter().all(VecDeque::is_empty) {
            tokio::task::yield_now().await;
        }
        bucket.pause(Duration::from_mins(5));
        assert_eq!(waiting.await.unwrap().unwrap_err(), Away::Paused(Duration::from_mins(5)));
        sleep(Duration::from_secs(100)).await;
        assert_eq!(bucket.place(Lane::New).await.unwrap_err(), Away::Paused(Duration::from_secs(200)));
        sleep(Duration::from_secs(200)).await;
        drop(taken(&bucket, Lane::New).await);
    }
}
