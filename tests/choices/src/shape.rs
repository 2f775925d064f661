//! The tree that is measured: services, their instances, ten members of each, 100 bytes of data in every znode.
//! `/app/service-0017/instance-0042-5f3a9c01/member-0000000003`: 54 bytes, and 91 of 100 znodes are such leaves.

use fastrand::Rng;

const INSTANCES: u64 = 90;
/// Children of each instance.
pub(crate) const MEMBERS: u64 = 10;
/// Bytes of data of each znode.
pub(crate) const DATA: usize = 100;
/// Services of about a million znodes.
pub(crate) const MILLION: Shape = Shape { services: 1009 };
/// And of a hundred thousand.
pub(crate) const SMALL: Shape = Shape { services: 101 };

/// How large it is.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    services: u64,
}

impl Shape {
    /// All paths, parents first.
    pub(crate) fn paths(self) -> impl Iterator<Item = String> {
        let below = |service| {
            let instances = (0..INSTANCES).map(move |instance| service * INSTANCES + instance);
            let members = |instance| (0..MEMBERS).map(move |member| leaf(instance * MEMBERS + member));
            let instances = instances.flat_map(move |number| std::iter::once(instance(number)).chain(members(number)));
            std::iter::once(format!("/app/service-{service:04}")).chain(instances)
        };
        std::iter::once("/app".to_owned()).chain((0..self.services).flat_map(below))
    }

    /// How many znodes that are.
    pub(crate) const fn znodes(self) -> u64 {
        1 + self.services * (1 + INSTANCES * (1 + MEMBERS))
    }

    /// How many of them have no children.
    pub(crate) const fn leaves(self) -> u64 {
        self.services * INSTANCES * MEMBERS
    }

    /// Some leaf.
    pub(crate) fn some_leaf(self, rng: &mut Rng) -> String {
        leaf(rng.u64(..self.leaves()))
    }

    /// Some znode with ten children.
    pub(crate) fn some_instance(self, rng: &mut Rng) -> String {
        instance(rng.u64(..self.services * INSTANCES))
    }
}

fn instance(number: u64) -> String {
    let host = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    format!("/app/service-{:04}/instance-{:04}-{host:08x}", number / INSTANCES, number % INSTANCES)
}

/// The leaf of that number.
pub(crate) fn leaf(number: u64) -> String {
    format!("{}/member-{:010}", instance(number / MEMBERS), number % MEMBERS)
}
