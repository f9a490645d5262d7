//! What listeners under the tracker's own name need.

use crate::config::layers::Merged;
use crate::config::{Config, OtherHosts};
use crate::proxy::InterceptedHost;

/// Reports hosts that cannot be intercepted, and listeners that cannot do it.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    let intercept = &config.intercept;
    for (index, host) in intercept.hosts.iter().enumerate() {
        if let Err(error) = host.parse::<InterceptedHost>() {
            out.report_at(&[&format!("intercept.hosts.{index}")], format!("`intercept.hosts`: {error}"), None);
        }
    }
    let listeners = config.server.listener.iter().enumerate().filter(|(_, listener)| listener.intercept);
    let mut count = 0;
    for (index, listener) in listeners {
        count += 1;
        let at = |key: &str| format!("server.listener.{index}.{key}");
        if intercept.hosts.is_empty() {
            let message = "this listener intercepts, and `intercept.hosts` is empty".to_owned();
            let help = "name the host of the tracker as clients know it, such as \"api.trello.com\"".to_owned();
            out.report_at(&[&at("intercept"), "intercept.hosts"], message, Some(help));
        }
        if listener.tls {
            let message = "a listener that intercepts has certificates of its own".to_owned();
            out.report_at(&[&at("tls"), &at("intercept")], message, Some("remove tls".to_owned()));
        }
        let Some(address) = listener.address.tcp() else {
            let message =
                "connections to a unix socket cannot be intercepted: no client looks for a host there".to_owned();
            out.report_at(&[&at("intercept"), &at("address")], message, None);
            continue;
        };
        if intercept.others == OtherHosts::Tunnel && !address.ip().is_loopback() {
            out.warn(format!(
                "intercept.others = \"tunnel\": whoever reaches {address} can connect to other hosts through the gate"
            ));
        }
    }
    if count == 0 && !intercept.hosts.is_empty() {
        out.warn(
            "intercept.hosts is set, and no [[server.listener]] has `intercept = true`: nothing is intercepted"
                .to_owned(),
        );
    }
}
