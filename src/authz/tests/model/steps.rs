//! What happens in a run: changes, look-ups, answers that are held, connections that end.

use std::sync::Mutex;

use tokio::task::JoinSet;

use super::super::*;
use super::world::World;
use crate::directory::persona::Persona;

/// Numbers that are the same for the same seed (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// A run that is under way.
pub(super) struct Steps<'a> {
    scene: &'a Arc<Scene>,
    server: &'a Persona,
    reading: JoinSet<()>,
    log: Vec<String>,
    disconnects_left: usize,
}

impl<'a> Steps<'a> {
    pub(super) fn new(scene: &'a Arc<Scene>, server: &'a Persona) -> Self {
        Self { scene, server, reading: JoinSet::new(), log: Vec::new(), disconnects_left: 2 }
    }

    /// Lets something happen.
    pub(super) async fn step(&mut self, random: &mut Random, world: &mut World, disconnects: bool) {
        match random.below(16) {
            0..5 => {
                if let Some(what) = self.server.change(|content| world.change(random, content)) {
                    self.log.push(what);
                }
            }
            5..11 => {
                let user = random.of(&world.users()).clone();
                self.log.push(format!("read {user}"));
                let scene = Arc::clone(self.scene);
                self.reading.spawn(async move { drop(scene.read(&user).await) });
            }
            11 | 12 => self.hold(random),
            13 => {
                self.log.push("release".to_owned());
                self.server.release();
            }
            14 if disconnects && self.disconnects_left > 0 && random.once_in(3) => {
                self.disconnects_left -= 1;
                self.log.push("disconnect".to_owned());
                if random.once_in(2) { self.server.close_all() } else { self.server.reset_all() }
            }
            // Time for what is under way.
            _ => {
                self.log.push("pause".to_owned());
                let pause = Duration::from_micros(u64::try_from(random.below(4_000)).unwrap());
                tokio::time::sleep(pause).await;
            }
        }
        if random.once_in(2) {
            tokio::task::yield_now().await;
        }
    }

    /// Holds answers of one kind, or of one in so many.
    fn hold(&mut self, random: &mut Random) {
        let (kind, rare) = (random.below(5), random.below(3) + 1);
        self.log.push(format!("hold {kind} 1/{rare}"));
        let random = Mutex::new(Random::new(random.next()));
        self.server.hold(move |search| {
            let is_of_kind = match kind {
                // What a group's members are, and an entry that is known.
                0 => search.scope == "base" && !search.base.is_empty(),
                1 => search.filter.contains("ember"),
                2 => search.filter.contains("objectSid"),
                // What the feeds ask.
                3 => search.controls.iter().any(|control| control.ends_with(".841")),
                _ => !search.is_of_the_root(),
            };
            is_of_kind && random.lock().unwrap().once_in(rare)
        });
    }

    /// Lets everything come to its end that is under way.
    pub(super) async fn settle(&mut self) {
        self.server.release();
        while let Some(read) = self.reading.join_next().await {
            read.unwrap();
        }
        self.log.push("settled".to_owned());
    }

    pub(super) fn log(&self) -> String {
        self.log.join("\n")
    }
}
