//! A run told line by line.

use zkd::peer::{Input, Output};
use zkd::zab::{Packet, Reader};

use super::world::World;

/// The longest line, characters.
const LINE_MAX: usize = 300;

impl World {
    pub(crate) fn trace_input(&self, node: usize, input: &Input) {
        self.trace(|world| {
            let text = match input {
                Input::FromLearner(link, packets) => format!("from learner {}: {packets:?}", link.0),
                Input::Writes(writes) => {
                    let writes: Vec<_> = writes.iter().map(|write| (write.session, write.xid, write.op)).collect();
                    format!("writes {writes:?}")
                }
                Input::Connect(lane, greeting) => format!("connect {} {greeting:?}", lane.id.0),
                Input::Truncated(restored) => format!("truncated: {}", restored.is_some()),
                Input::FromLeader(link, arrivals) => format!("from the leader {}: {}", link.0, arrivals.len()),
                other => format!("{other:?}"),
            };
            cut(format!("{} <- {text}", world.name(node)))
        });
    }

    pub(crate) fn trace_output(&self, node: usize, output: &Output) {
        self.trace(|world| {
            let text = match output {
                Output::Append(txns) => format!("append {:?}", txns.iter().map(|(zxid, _)| *zxid).collect::<Vec<_>>()),
                Output::ToLearner(link, bytes) => format!("to learner {}: {}", link.0, packets(bytes, Reader::Learner)),
                Output::ToLeader(_, bytes) => format!("to the leader: {}", packets(bytes, Reader::Leader)),
                Output::Snapshot(start) => format!("snapshot {} walk {}", start.zxid, start.walk),
                Output::DatabaseToLearner(link, start) => format!("database {} to learner {}", start.zxid, link.0),
                Output::Notify(to, notification) => {
                    format!("notify {}: {:?} {:?}", to.0, notification.state, notification.vote)
                }
                other => format!("{other:?}"),
            };
            cut(format!("{} -> {text}", world.name(node)))
        });
    }
}

fn packets(bytes: &[u8], reader: Reader) -> String {
    let mut rest = bytes::Bytes::copy_from_slice(bytes);
    let mut said = Vec::new();
    while let Ok(Some((length, packet))) = Packet::decode(&rest, reader, 2 << 20) {
        rest = rest.slice(length..);
        said.push(match packet {
            Packet::Proposal { zxid, .. } => format!("PROPOSAL {zxid}"),
            Packet::Inform { zxid, .. } => format!("INFORM {zxid}"),
            Packet::NewLeader { zxid, .. } => format!("NEWLEADER {zxid}"),
            Packet::Request(request) => format!("REQUEST {} {} {:?}", request.session, request.cxid, request.op),
            other => format!("{other:?}"),
        });
    }
    said.join(", ")
}

fn cut(mut line: String) -> String {
    if let Some((at, _)) = line.char_indices().nth(LINE_MAX) {
        line.truncate(at);
        line.push('…');
    }
    line
}
