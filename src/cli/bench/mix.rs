//! The operations that a load is made of, and their shares: `get=70,set=30`.

use std::fmt;
use std::str::FromStr;

/// One kind of operation that the generator can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BenchOp {
    /// getData of one znode.
    Get,
    /// setData of one znode.
    Set,
    /// exists of one znode.
    Exists,
    /// create of a znode below the connection's own parent.
    Create,
    /// delete of the oldest znode that the same connection created; a create when there is none.
    Delete,
    /// getChildren of a znode with `--children` children.
    Children,
    /// A multi of ten setData.
    Multi10,
    /// A multi of a hundred setData.
    Multi100,
    /// A ping.
    Ping,
    /// Opens a new session on a new socket, then closes the old one.
    Connect,
    /// Opens a session, creates an ephemeral znode in it, and closes it: the znode goes with it.
    Ephemeral,
}

impl BenchOp {
    /// All of them; an operation's place here is its place in every table.
    pub const ALL: [BenchOp; 11] = [
        Self::Get,
        Self::Set,
        Self::Exists,
        Self::Create,
        Self::Delete,
        Self::Children,
        Self::Multi10,
        Self::Multi100,
        Self::Ping,
        Self::Connect,
        Self::Ephemeral,
    ];

    /// The word for it on the command line and in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Exists => "exists",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Children => "children",
            Self::Multi10 => "multi10",
            Self::Multi100 => "multi100",
            Self::Ping => "ping",
            Self::Connect => "connect",
            Self::Ephemeral => "ephemeral",
        }
    }

    /// How many setData the operation carries; 0 when it is not a multi.
    #[must_use]
    pub const fn multi_length(self) -> usize {
        match self {
            Self::Multi10 => 10,
            Self::Multi100 => 100,
            _ => 0,
        }
    }
}

/// Shares of operations. Each draw is independent: the order is random, the shares hold on average.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mix {
    text: String,
    /// Every operation as often as its share says.
    table: Vec<BenchOp>,
}

/// The sum of all shares at most.
const SHARES_MAX: usize = 10_000;

impl Mix {
    /// Draws one operation.
    #[must_use]
    pub fn draw(&self, random: &mut fastrand::Rng) -> BenchOp {
        match self.table.as_slice() {
            [only] => *only,
            table => table[random.usize(..table.len())],
        }
    }

    /// Whether the operation has a share.
    #[must_use]
    pub fn has(&self, op: BenchOp) -> bool {
        self.table.contains(&op)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut table = Vec::new();
        for part in text.split(',') {
            let (word, share) = part.split_once('=').unwrap_or((part, "1"));
            let op = BenchOp::ALL.into_iter().find(|op| op.word() == word);
            let op = op.ok_or_else(|| format!("unknown operation {word:?}"))?;
            let share: usize = share.parse().map_err(|_| format!("share of {word} is not a number: {share:?}"))?;
            if table.len() + share > SHARES_MAX {
                return Err(format!("shares add up to more than {SHARES_MAX}"));
            }
            table.extend(std::iter::repeat_n(op, share));
        }
        if table.is_empty() {
            return Err("no operation has a share".to_owned());
        }
        if table.iter().all(|op| *op == table[0]) {
            table.truncate(1);
        }
        Ok(Self { text: text.to_owned(), table })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_on_average() {
        let mix: Mix = "get=70,set=30".parse().unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let gets = (0..10_000).filter(|_| mix.draw(&mut random) == BenchOp::Get).count();
        assert!((6_700..7_300).contains(&gets), "{gets}");
        assert!(mix.has(BenchOp::Set) && !mix.has(BenchOp::Ping));
    }

    #[test]
    fn a_mix_must_name_known_operations_with_shares() {
        assert!("get".parse::<Mix>().is_ok());
        for bad in ["", "fetch=1", "get=x", "get=0", "get=20000"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }
}
