//! The client port, as `net::connection` has it: frames go into lanes, what lanes say goes out.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use zkd::ids::ConnectionId;
use zkd::peer::Input;
use zkd::pipeline::{
    Arrival, EarlyRules, Lane, LanePhase, LargeRequestRules, ReceiveRules, Received, disconnect, greet, receive,
};

use super::network::ConnId;
use super::server::is_closing;
use super::world::World;

/// A client's connection on its server.
pub(crate) struct ServerLane {
    lane: Arc<Lane>,
    input: BytesMut,
}

const RULES: ReceiveRules =
    ReceiveRules { large: LargeRequestRules { threshold: None, bytes_max: 0 }, early: EarlyRules::NONE };

impl World {
    pub(crate) fn client_connected(&mut self, conn: ConnId) {
        let node = self.network.conns[conn].ends[1].node;
        let process = self.process(node);
        let id = ConnectionId(conn as u64 + 1);
        let lane = Lane::new(id, ([127, 0, 0, 1], 1).into(), 0, Arc::clone(&process.statistics));
        process.lanes.insert(conn, ServerLane { lane, input: BytesMut::new() });
        self.client_reached(conn);
    }

    pub(crate) fn lane_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let node = self.network.conns[conn].ends[1].node;
        if let Some(lane) = self.process(node).lanes.get_mut(&conn) {
            lane.input.extend_from_slice(bytes);
            if !self.servers[node].paused {
                self.read_lane(node, conn);
                self.write_lane(node, conn);
            }
        }
    }

    /// Takes whole frames while the lane takes some.
    fn read_lane(&mut self, node: usize, conn: ConnId) {
        let now_ms = self.clock(node).steady_ms;
        let mut writes = Vec::new();
        let mut greeting = None;
        let process = self.process(node);
        let serves = process.serves;
        let Some(ServerLane { lane, input }) = process.lanes.get_mut(&conn) else { return };
        {
            let database = process.database.read();
            let mut state = lane.lock();
            while matches!(state.phase(), LanePhase::Greeting | LanePhase::Open)
                && let Some(length) = input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
                && let Some(frame) = input.get(4..4 + length).map(<[u8]>::to_vec)
            {
                input.advance(4 + length);
                if state.phase() == LanePhase::Open {
                    match receive(&database, lane, &mut state, &frame, Arrival::at(now_ms), RULES) {
                        Received::Done => {}
                        Received::Write(request) => writes.push(request),
                    }
                } else if serves {
                    greeting =
                        greet(&database, &mut state, &frame, |_| true).map(|greeting| (Arc::clone(lane), greeting));
                } else {
                    state.cut();
                }
            }
        }
        if let Some((lane, greeting)) = greeting {
            self.give(node, Input::Connect(lane, greeting));
        }
        if !writes.is_empty() {
            self.give(node, Input::Writes(writes));
        }
    }

    /// Sends what the lane says, and closes behind its last word.
    fn write_lane(&mut self, node: usize, conn: ConnId) {
        let Some(lane) = self.process(node).lanes.get(&conn) else { return };
        let (out, closing) = {
            let mut state = lane.lane.lock();
            (state.take_out(), is_closing(&state))
        };
        self.send(conn, 1, out);
        if closing {
            self.hang_up(conn, 1);
            self.lane_lost(conn);
        }
    }

    /// Everything that lanes have to say or to take.
    pub(crate) fn serve_lanes(&mut self, node: usize) {
        let conns: Vec<_> = self.process(node).lanes.keys().copied().collect();
        for conn in conns {
            self.write_lane(node, conn);
            self.read_lane(node, conn);
            self.write_lane(node, conn);
        }
    }

    pub(crate) fn lane_lost(&mut self, conn: ConnId) {
        let node = self.network.conns[conn].ends[1].node;
        let process = self.process(node);
        if let Some(ServerLane { lane, .. }) = process.lanes.remove(&conn) {
            disconnect(&process.database.read(), &lane);
            self.give(node, Input::Disconnected(lane.id));
        }
    }
}
