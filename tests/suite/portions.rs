//! What is kept of each object adds up to what all rows say.
use alb502::{
    access_log::{ObjectKey, Reader},
    detection::{Detector, Portion, Thresholds, portion::MAX_PACKED_BYTES},
    diagnosis::{Diagnosis, diagnose, is_told},
};

use crate::library::{LIBRARY, Object, facts, objects, read, snapshot};

fn thresholds() -> Thresholds {
    Thresholds { include_idle_timeout_504: true, ..Thresholds::default() }
}

/// Reads one object alone, as one invocation does.
fn portions(object: &Object) -> Vec<Portion> {
    let key = ObjectKey::parse(&object.name);
    let mut detector = Detector::new(thresholds());
    let source = detector.source(&object.name, &key);
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    let _ = reader.push(&object.bytes);
    let _ = reader.finish();
    detector.portions()
}

/// Adds up what was kept of every object, in the order given.
fn added<'a>(objects: impl Iterator<Item = &'a Object>) -> Detector {
    let mut all = Detector::new(thresholds());
    for object in objects {
        let key = ObjectKey::parse(&object.name);
        if key.skip_reason().is_some() {
            continue;
        }
        let source = all.source(&object.name, &key);
        for it in portions(object) {
            all.absorb_counts(&it.load_balancer, it.window, &it.groups);
            for group in &it.groups {
                let arn = group.target_group.as_deref();
                let done =
                    all.absorb_details(&it.load_balancer, arn, it.window, source, &it.details);
                done.unwrap();
            }
        }
    }
    all
}

#[test]
fn what_is_kept_of_each_object_is_diagnosed_like_all_rows_word_for_word() {
    let mut incidents = 0;
    let mut different = Vec::new();
    for told in LIBRARY.iter() {
        let objects = objects(&told.folder);
        let snapshot = snapshot(&told.folder);
        let (_, reading) = read(&objects);
        let all = added(objects.iter().rev());
        let diagnosed = |it| diagnose(it, &facts(snapshot.as_ref(), it), &reading);
        let kept: Vec<Diagnosis> = all.incidents().iter().map(diagnosed).filter(is_told).collect();
        incidents += kept.len();
        let words = |list: &[Diagnosis]| serde_json::to_string_pretty(list).unwrap();
        let (expected, kept) = (words(&told.diagnoses), words(&kept));
        let first = expected.lines().zip(kept.lines()).find(|(a, b)| a != b);
        if expected != kept {
            different.push(format!("{}: {first:?}", told.name));
        }
    }
    println!("{incidents} incidents told from what was kept of each object");
    assert!(different.is_empty(), "\n{}\n", different.join("\n"));
}

#[test]
fn the_same_object_is_kept_as_the_same_bytes() {
    for told in LIBRARY.iter().filter(|told| !told.is_large()) {
        for object in objects(&told.folder).iter().take(2) {
            assert_eq!(portions(object), portions(object), "{}", told.name);
        }
    }
}

fn row(number: usize, path: &str, target: usize, status: &str) -> String {
    let (second, millis) = (number / 1000 % 60, number % 1000);
    format!(
        "http 2026-11-20T12:01:{second:02}.{millis:03}500Z app/shop/0123456789abcdef \
         198.51.100.7:40000 10.0.{}.{}:8080 0.001 0.020 {status} 200 300 \
         \"GET http://shop.example.com:80/{path} HTTP/1.1\" \"curl/8\" - - \
         arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123 \
         \"Root=1-{number:08x}-0\" \"-\" \"-\" 0 2026-11-20T12:01:{second:02}.{millis:03}000Z \"forward\" \
         \"-\" \"-\" \"10.0.0.1:8080\" \"-\" \"-\" \"-\"\n",
        target / 250,
        target % 250,
    )
}

#[test]
fn ten_thousand_rows_are_small_and_the_worst_ones_fit() {
    let object = |bytes: String| Object { name: "access.log".to_owned(), bytes: bytes.into() };
    let usual: String = (0..10_000)
        .map(|it| {
            let dice = (it as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let (at, path) = ((dice % 60_000) as usize, dice % 53);
            row(at, &format!("p{path}"), (dice % 11) as usize, "0.000 200 200")
        })
        .collect();
    let usual = portions(&object(usual));
    println!("10,000 rows are kept in {} bytes", usual[0].details.len());
    assert!(usual[0].details.len() < 64_000, "{}", usual[0].details.len());
    // Every row with a path and a target of its own, a third of them failed.
    let word = |it: usize| format!("{:016x}", (it as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let worst: String = (0..60_000)
        .map(|it| {
            let status = if it % 3 == 0 { "-1 502 -" } else { "0.000 200 200" };
            row(
                it,
                &format!("{}/{}", word(it), word(it + 1)).replace(char::is_numeric, "q"),
                it % 4000,
                status,
            )
        })
        .collect();
    let worst = object(worst);
    let kept = portions(&worst);
    assert_eq!(kept.len(), 1);
    assert!(kept[0].details.len() <= MAX_PACKED_BYTES, "{}", kept[0].details.len());
    assert_eq!(kept[0].groups[0].counts.requests, 60_000);
    let (all, kept) =
        (read(std::slice::from_ref(&worst)).0, added([&worst].into_iter()).incidents());
    assert_eq!((all.len(), kept.len()), (1, 1));
    assert_eq!(all[0].counts, kept[0].counts);
    assert_eq!(all[0].signatures, kept[0].signatures);
}

#[test]
fn bytes_that_were_not_kept_here_are_refused() {
    let told =
        LIBRARY.iter().find(|told| told.name == "keepalive-race-node").unwrap_or(&LIBRARY[0]);
    let object = &objects(&told.folder)[0];
    let portion = portions(object).swap_remove(0);
    let mut all = Detector::new(thresholds());
    let source = all.source(&object.name, &ObjectKey::parse(&object.name));
    let group = portion.groups[0].target_group.clone();
    let mut absorb = |bytes: &[u8]| {
        let lb = &portion.load_balancer;
        all.absorb_details(lb, group.as_deref(), portion.window, source, bytes)
    };
    assert!(absorb(&portion.details).is_ok());
    assert!(absorb(b"").is_err());
    assert!(absorb(b"not a zlib stream").is_err());
    for cut in [1, portion.details.len() / 2, portion.details.len() - 1] {
        assert!(absorb(&portion.details[..cut]).is_err(), "{cut}");
    }
    // Any byte changed: an error or other numbers, never a panic.
    for at in (0..portion.details.len()).step_by(97) {
        let mut lying = portion.details.clone();
        lying[at] ^= 0x55;
        let _ = absorb(&lying);
    }
}
