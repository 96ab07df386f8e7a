//! Several people edit their calendars at random through Graph's own API, while operator and webhook server are killed at random. In
//! the end the product has exactly what the calendars say.
//!
//! `ROOMKEEPER_SOAK_SEED` plays another run, `ROOMKEEPER_SOAK_EDITS` a longer one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_e2e::{
    agreement,
    chance::Chance,
    outlook::{Outlook, add_in_property},
    scene::{NAMESPACE, install_scope},
    system::{Daemon, System},
    wait, world,
};
use serde_json::{Value, json};

const PEOPLE: usize = 4;
const WAIT: Duration = Duration::from_mins(4);
/// A new leader need not wait for long.
const LEASE: [&str; 6] =
    ["--lease-duration", "6s", "--lease-renew-deadline", "4s", "--lease-retry-period", "1s"];

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

struct Event {
    id: String,
    series: bool,
}

/// One person with a calendar.
struct Person {
    outlook: Outlook,
    user: String,
    chance: Chance,
    events: Vec<Event>,
    rooms: usize,
}

impl Person {
    /// A space that nobody else books: whether two meetings get along is the product's to say, not the calendars'.
    fn room(&mut self) -> String {
        self.rooms += 1;
        format!("room-{}-{}", self.user.rsplit('-').next().unwrap(), self.rooms)
    }

    fn property(&mut self) -> Value {
        let rooms: Vec<String> = (0..=self.chance.below(2)).map(|_| self.room()).collect();
        json!({"singleValueExtendedProperties": [add_in_property(&rooms)]})
    }

    fn times(&mut self) -> Value {
        let day = 2 + i64::try_from(self.chance.below(60)).unwrap();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let day = today.checked_add(day.days()).unwrap();
        let hour = 6 + self.chance.below(12);
        let zone = ["UTC", "W. Europe Standard Time", "America/New_York"][self.chance.below(3)];
        json!({
            "start": {"dateTime": format!("{day}T{hour:02}:00:00"), "timeZone": zone},
            "end": {"dateTime": format!("{day}T{:02}:30:00", hour + 1), "timeZone": zone},
        })
    }

    fn recurrence(&mut self, start: &Value) -> Value {
        let day = start["start"]["dateTime"].as_str().unwrap().split('T').next().unwrap();
        let range = match self.chance.below(3) {
            0 => json!({"type": "noEnd", "startDate": day}),
            _ => {
                json!({"type": "numbered", "startDate": day, "numberOfOccurrences": 2 + self.chance.below(5)})
            }
        };
        let interval = 1 + self.chance.below(3);
        json!({"pattern": {"type": "daily", "interval": interval}, "range": range})
    }

    async fn create(&mut self) {
        let mut event = self.times();
        let series = self.chance.strikes(400);
        if series {
            event["recurrence"] = self.recurrence(&event.clone());
        }
        event["subject"] = least_data::canary::SUBJECT.into();
        event["singleValueExtendedProperties"] = self.property()["singleValueExtendedProperties"].clone();
        let id = self.outlook.create_event(&self.user, &event).await.unwrap();
        self.events.push(Event { id, series });
    }

    /// Moves, removes or rebooks one occurrence.
    async fn edit_occurrence(&mut self, id: &str) {
        let now = Timestamp::now();
        let until = now + (90 * 24).hours();
        let all = self.outlook.occurrences(&self.user, id, now, until).await.unwrap();
        if all.len() < 2 {
            return;
        }
        let one = &all[self.chance.below(all.len())];
        let occurrence = one["id"].as_str().unwrap();
        match self.chance.below(3) {
            0 => self.outlook.delete(&self.user, occurrence).await.unwrap(),
            1 => {
                let property = self.property();
                self.outlook.change(&self.user, occurrence, &property).await.unwrap();
            }
            _ => {
                let day = one["start"]["dateTime"].as_str().unwrap().split('T').next().unwrap();
                let hour = 6 + self.chance.below(12);
                let times = json!({
                    "start": {"dateTime": format!("{day}T{hour:02}:15:00"), "timeZone": "UTC"},
                    "end": {"dateTime": format!("{day}T{hour:02}:45:00"), "timeZone": "UTC"},
                });
                // Graph refuses what would pass another occurrence; then nothing has changed.
                drop(self.outlook.change(&self.user, occurrence, &times).await);
            }
        }
    }

    async fn edit(&mut self) {
        if self.events.len() < 3 || self.chance.strikes(250) {
            return self.create().await;
        }
        let at = self.chance.below(self.events.len());
        let (id, series) = (self.events[at].id.clone(), self.events[at].series);
        match self.chance.below(6) {
            0 => {
                self.outlook.delete(&self.user, &id).await.unwrap();
                self.events.swap_remove(at);
            }
            1 => self.outlook.rename(&self.user, &id, "Renamed").await.unwrap(),
            2 => {
                let property = self.property();
                self.outlook.change(&self.user, &id, &property).await.unwrap();
            }
            3 if !series => self.outlook.set_rooms(&self.user, &id, &[]).await.unwrap(),
            4 if !series => {
                let times = self.times();
                self.outlook.change(&self.user, &id, &times).await.unwrap();
            }
            _ if series => self.edit_occurrence(&id).await,
            _ => self.create().await,
        }
    }
}

/// Both daemons, killed now and then.
struct Daemons<'a> {
    system: &'a System,
    operator: Daemon,
    webhook: Daemon,
    kills: [usize; 2],
}

impl<'a> Daemons<'a> {
    async fn start(system: &'a System) -> Self {
        let operator = system.operator("operator", &LEASE).await.unwrap();
        let webhook = system.webhook("webhook", &[]).await.unwrap();
        Self { system, operator, webhook, kills: [0; 2] }
    }

    async fn kill(&mut self, which: usize) {
        self.kills[which] += 1;
        if which == 0 {
            self.operator.process.kill().unwrap();
            self.operator = self.system.operator("operator", &LEASE).await.unwrap();
        } else {
            self.webhook.process.kill().unwrap();
            self.webhook = self.system.webhook("webhook", &[]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_end_the_product_has_what_the_calendars_say() {
    roomkeeper_service::tls::install_provider();
    let (seed, edits) = (number("ROOMKEEPER_SOAK_SEED", 1), number("ROOMKEEPER_SOAK_EDITS", 60));
    eprintln!("soak: seed {seed}, {edits} edits by each of {PEOPLE} people");
    let control_plane = ControlPlane::start(StartOptions::default()).await.unwrap();
    let folder = scratch_dir("soak").unwrap();
    let system = System::start(&control_plane, folder.path(), &world::contoso(PEOPLE)).await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let mut daemons = Daemons::start(&system).await;
    install_scope(&system, &client, str::to_owned).await.unwrap();
    daemons.webhook.ready().await.unwrap();
    let users: Vec<String> = (1..=PEOPLE).map(world::user_id).collect();
    for user in &users {
        let ticked =
            async || Ok((system.tick_the_box(NAMESPACE, "contoso", user).await? == 201).then_some(()));
        wait::until("the consent", WAIT, ticked).await.unwrap();
    }
    let subscribed = async || Ok((system.graph.subscriptions().await?.len() == PEOPLE).then_some(()));
    wait::until("the subscriptions", WAIT, subscribed).await.unwrap();

    let outlook = system.outlook().await.unwrap();
    let busy = Arc::new(AtomicBool::new(true));
    let people = users.clone().into_iter().zip(0..).map(|(user, number)| {
        let chance = Chance::new(seed.wrapping_mul(1_000).wrapping_add(number));
        let mut person = Person { outlook: outlook.clone(), user, chance, events: Vec::new(), rooms: 0 };
        tokio::spawn(async move {
            for _ in 0..edits {
                person.edit().await;
                // The pace of busy people, not a wait for anything.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    });
    let people: Vec<_> = people.collect();
    let ended = {
        let busy = Arc::clone(&busy);
        tokio::spawn(async move {
            for person in people {
                person.await.unwrap();
            }
            busy.store(false, Ordering::SeqCst);
        })
    };
    let mut chance = Chance::new(seed);
    while busy.load(Ordering::SeqCst) {
        let which = chance.below(2);
        daemons.kill(which).await;
        let pause = u64::try_from(chance.below(4_000)).unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    ended.await.unwrap();
    assert!(daemons.kills.iter().sum::<usize>() > 2, "there were kills: {:?}", daemons.kills);

    let from = Timestamp::now();
    let window = (from, from + (300 * 24).hours());
    let agreed = wait::until("calendars and product to agree", WAIT, async || {
        let calendars = agreement::in_calendars(&outlook, &users, window).await?;
        let product = agreement::at_product(&system.booking, window).await?;
        agreement::compare(&calendars, &product)?;
        Ok(Some(product.len()))
    })
    .await
    .unwrap();
    eprintln!("soak: {agreed} bookings, operator and webhook server killed {:?} times", daemons.kills);
    assert!(agreed > PEOPLE, "there was something to agree about");
    system.stop();
    control_plane.stop().await.unwrap();
}
