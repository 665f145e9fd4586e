//! The people and machines that send requests.
use crate::rng::Rng;

pub(crate) struct Client {
    pub ip: String,
    pub port: u16,
    /// `https` or `h2` on the TLS listener.
    pub kind: &'static str,
    pub agent: &'static str,
    pub cipher: &'static str,
    pub tls: &'static str,
    pub tid: [u64; 2],
    pub resumed: bool,
    pub node: usize,
    /// Of this many seconds of silence the client is fed up.
    pub patience: Option<f64>,
    pub large_cookies: bool,
    pub sticky: Option<usize>,
}

const BROWSERS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
];
const MACHINES: &[&str] = &[
    "okhttp/4.12.0",
    "python-requests/2.32.5",
    "axios/1.12.2",
    "curl/8.5.0",
    "Go-http-client/2.0",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
];

/// The address of client number `n`: documentation ranges only, one in nine IPv6.
fn address(n: usize, rng: &mut Rng) -> String {
    let host = n % 250 + 1;
    match n % 9 {
        4 => format!(
            "2001:db8:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}",
            n / 9 % 4096 + 1,
            rng.below(65_536),
            rng.below(65_535) + 1,
            rng.below(65_535) + 1,
            rng.below(65_535) + 1,
            rng.below(65_535) + 1
        ),
        0..=3 => format!("198.51.100.{host}"),
        _ => format!("192.0.2.{host}"),
    }
}

pub(crate) fn client(n: usize, nodes: usize, impatient: f64, rng: &mut Rng) -> Client {
    let machine = rng.chance(0.2);
    let agents = if machine { MACHINES } else { BROWSERS };
    let old = rng.chance(0.15);
    let mut client = Client {
        ip: address(n, rng),
        port: 0,
        kind: if rng.chance(if machine { 0.2 } else { 0.85 }) { "h2" } else { "https" },
        agent: agents[rng.below(agents.len())],
        cipher: if old { "ECDHE-RSA-AES128-GCM-SHA256" } else { "TLS_AES_128_GCM_SHA256" },
        tls: if old { "TLSv1.2" } else { "TLSv1.3" },
        tid: [0, 0],
        resumed: false,
        node: rng.below(nodes),
        patience: rng.chance(impatient).then_some(5.0),
        large_cookies: n % 4 == 1,
        sticky: None,
    };
    reconnect(&mut client, rng);
    client.resumed = false;
    client
}

/// A new connection of the same client.
pub(crate) fn reconnect(client: &mut Client, rng: &mut Rng) {
    client.port = 1024 + rng.below(64_000) as u16;
    client.tid = [rng.next(), rng.next()];
    client.resumed = rng.chance(0.4);
}
