//! Keys that hold clients back (features.md, CF-53 to CF-59). The reference's documentation spells them in camel case;
//! neither it nor zkd reads those.

/// What holds clients back. Each field names its key; defaults are the reference's.
#[derive(Clone, PartialEq, Debug)]
pub struct ThrottleConfig {
    /// `connection_throttle_tokens`; 0 is off.
    pub tokens: u32,
    /// `connection_throttle_fill_time`, ms.
    pub fill_ms: u64,
    /// `connection_throttle_fill_count`.
    pub fill_count: u32,
    /// `connection_throttle_freeze_time`, ms; `None` is off.
    pub freeze_ms: Option<u64>,
    /// `connection_throttle_drop_increase`.
    pub drop_increase: f64,
    /// `connection_throttle_drop_decrease`.
    pub drop_decrease: f64,
    /// `connection_throttle_decrease_ratio`.
    pub decrease_ratio: f64,
    /// `connection_throttle_weight_enabled`.
    pub weighted: bool,
    /// `connection_throttle_global_session_weight`.
    pub global_weight: i32,
    /// `connection_throttle_local_session_weight`.
    pub local_weight: i32,
    /// `connection_throttle_renew_session_weight`.
    pub renew_weight: i32,
    /// `request_throttle_max_requests`; 0 is off.
    pub requests_max: i64,
    /// `request_throttle_stall_time`, ms.
    pub stall_ms: u64,
    /// `request_throttle_drop_stale`.
    pub drop_stale: bool,
    /// `request_stale_connection_check`.
    pub stale_connection: bool,
    /// `request_stale_latency_check`.
    pub stale_latency: bool,
    /// `throttled_op_wait_time`, ms; `None` is off.
    pub op_wait_max_ms: Option<u64>,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            tokens: 0,
            fill_ms: 1,
            fill_count: 1,
            freeze_ms: None,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weighted: false,
            global_weight: GLOBAL_WEIGHT,
            local_weight: LOCAL_WEIGHT,
            renew_weight: RENEW_WEIGHT,
            requests_max: 0,
            stall_ms: 100,
            drop_stale: true,
            stale_connection: true,
            stale_latency: false,
            op_wait_max_ms: None,
        }
    }
}

/// How many tokens sessions take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionWeights {
    /// One that all servers know. The bucket and what fills it are multiplied by this.
    pub global: u32,
    /// One that only one server knows.
    pub local: u32,
    /// One whose client comes back.
    pub renew: u32,
}

impl ThrottleConfig {
    /// The weights that count: as in the reference, what is not above 0 is the default, and no session is lighter than
    /// a local one.
    #[must_use]
    pub fn weights(&self) -> SessionWeights {
        if !self.weighted {
            return SessionWeights { global: 1, local: 1, renew: 1 };
        }
        let weight = |set: i32, default: i32, least: i32| {
            let weight = if set <= 0 { default } else { set.max(least) };
            weight.unsigned_abs()
        };
        SessionWeights {
            global: weight(self.global_weight, GLOBAL_WEIGHT, self.local_weight),
            local: weight(self.local_weight, LOCAL_WEIGHT, 1),
            renew: weight(self.renew_weight, RENEW_WEIGHT, self.local_weight),
        }
    }
}

const GLOBAL_WEIGHT: i32 = 3;
const LOCAL_WEIGHT: i32 = 1;
const RENEW_WEIGHT: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_corrected_as_in_the_reference() {
        let weights = |weighted, global_weight, local_weight, renew_weight| {
            let config =
                ThrottleConfig { weighted, global_weight, local_weight, renew_weight, ..ThrottleConfig::default() };
            let SessionWeights { global, local, renew } = config.weights();
            (global, local, renew)
        };
        assert_eq!(weights(false, 9, 9, 9), (1, 1, 1));
        assert_eq!(weights(true, 3, 1, 2), (3, 1, 2));
        assert_eq!(weights(true, 0, -4, 0), (3, 1, 2));
        assert_eq!(weights(true, 2, 5, 1), (5, 5, 5));
    }
}
