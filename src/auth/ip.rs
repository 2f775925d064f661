//! The ip scheme: an IPv4 address, or a network (AC-08). IPv6 is not valid in ACLs of 3.9.

/// Whether an ACL may hold this id.
pub(super) fn is_valid(id: &str) -> bool {
    network(id).is_some()
}

/// Whether `address` lies in the network `id`.
pub(super) fn matches(id: &str, address: &str) -> bool {
    let (Some((network, bits)), Some(address)) = (network(id), ipv4(address)) else { return false };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    network & mask == address & mask
}

fn network(id: &str) -> Option<(u32, u32)> {
    match id.split_once('/') {
        Some((address, bits)) => Some((ipv4(address)?, integer(bits).filter(|bits| *bits <= 32)?)),
        None => Some((ipv4(id)?, 32)),
    }
}

fn ipv4(text: &str) -> Option<u32> {
    let mut octets = text.split('.');
    let address = octets.by_ref().take(4).try_fold((0u32, 0), |(address, count), octet| {
        Some((address << 8 | integer(octet).filter(|octet| *octet <= 255)?, count + 1))
    })?;
    (address.1 == 4 && octets.next().is_none()).then_some(address.0)
}

/// As Java's `Integer.parseInt` reads it: a plus sign passes, and so does minus zero; blanks do not.
fn integer(text: &str) -> Option<u32> {
    u32::try_from(text.parse::<i32>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_match_by_their_bits() {
        assert!(matches("10.1.2.3", "10.1.2.3") && !matches("10.1.2.3", "10.1.2.4"));
        assert!(matches("10.1.0.0/16", "10.1.2.3") && !matches("10.1.0.0/16", "10.2.2.3"));
        assert!(matches("0.0.0.0/0", "10.1.2.3"));
        for bad in ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/", " 1.2.3.4", "::1"] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(is_valid("+1.2.3.4/+8"));
    }
}
