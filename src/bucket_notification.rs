//! A bucket's notification configuration with one entry put in, or taken out, and the rest as it was.
//!
//! A bucket has one such configuration and S3 only replaces it as a whole: so what others put there must
//! be carried over. Everything here is pure; `alb502 attach` reads and writes.

use std::fmt;

use serde::Serialize;

/// The whole configuration of a bucket, as the API knows it.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_NotificationConfiguration.html>
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketNotification {
    /// The entries of all three kinds, each kind in the order of the bucket.
    pub entries: Vec<Entry>,
    /// Whether the bucket sends its events to EventBridge. It is a switch: rules there pick what they want.
    pub event_bridge: bool,
}

/// Objects of a kind go to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is known by. S3 gives one to entries that came without.
    pub id: String,
    /// Where its events go.
    pub destination: Destination,
    /// Such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// Which keys it is about. `None`: all.
    pub filter: Option<Vec<FilterRule>>,
}

/// A prefix or suffix that keys must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilterRule {
    /// `prefix` or `suffix`, in any case of letters.
    pub name: String,
    /// As it stands in keys.
    pub value: String,
}

/// Where events go, by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A Lambda function.
    Function(String),
    /// An SQS queue.
    Queue(String),
    /// An SNS topic.
    Topic(String),
}

impl Destination {
    /// The ARN.
    pub fn arn(&self) -> &str {
        let (Self::Function(arn) | Self::Queue(arn) | Self::Topic(arn)) = self;
        arn
    }

    /// What AWS calls the list that it stands in, and its ARN there.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Function(_) => ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
            Self::Queue(_) => ("QueueConfigurations", "QueueArn"),
            Self::Topic(_) => ("TopicConfigurations", "TopicArn"),
        }
    }

    fn is_of_the_kind_of(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.arn())
    }
}

impl Entry {
    /// The entry of alb502: every way in which an access log appears under the prefix (ELB puts, posts
    /// and uploads in parts).
    pub fn of_access_logs(id: &str, destination: Destination, prefix: &str) -> Self {
        let prefix =
            if prefix.is_empty() { "AWSLogs/".to_owned() } else { format!("{prefix}/AWSLogs/") };
        Self {
            id: id.to_owned(),
            destination,
            events: vec!["s3:ObjectCreated:*".to_owned()],
            filter: Some(vec![
                FilterRule { name: "prefix".to_owned(), value: prefix },
                FilterRule { name: "suffix".to_owned(), value: ".log.gz".to_owned() },
            ]),
        }
    }

    /// The value of a filter rule; empty, which every key has, when there is none.
    fn rule(&self, name: &str) -> &str {
        self.filter
            .iter()
            .flatten()
            .find(|rule| rule.name.eq_ignore_ascii_case(name))
            .map_or("", |rule| &rule.value)
    }

    /// Whether some object would go to both, which S3 refuses whatever the destinations are.
    pub fn overlaps(&self, other: &Self) -> bool {
        let kind = |event: &str| event.trim_end_matches('*').to_owned();
        let events = self.events.iter().any(|one| {
            other
                .events
                .iter()
                .any(|two| kind(one).starts_with(&kind(two)) || kind(two).starts_with(&kind(one)))
        });
        let (one, two) = (self.rule("prefix"), other.rule("prefix"));
        let prefixes = one.starts_with(two) || two.starts_with(one);
        let (one, two) = (self.rule("suffix"), other.rule("suffix"));
        events && prefixes && (one.ends_with(two) || two.ends_with(one))
    }

    /// As the AWS CLI prints it.
    fn json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({ "Id": self.id, "Events": self.events });
        json[self.destination.names().1] = self.destination.arn().into();
        if let Some(rules) = &self.filter {
            json["Filter"] = serde_json::json!({ "Key": { "FilterRules": rules } });
        }
        json
    }

    /// Without what S3 is free to change: the order, the case of letters in `Prefix`, an empty filter.
    fn plain(&self) -> Self {
        let mut plain = self.clone();
        plain.events.sort();
        let rules = plain.filter.get_or_insert_default();
        for rule in &mut *rules {
            rule.name.make_ascii_lowercase();
        }
        rules.sort();
        plain
    }
}

impl BucketNotification {
    /// The entry of this id, whatever its kind.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// The entries of others.
    pub fn others<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.id != id)
    }

    /// With this entry in the place of the one of the same id, or behind the others.
    #[must_use]
    pub fn with(&self, entry: &Entry) -> Self {
        let mut whole = self.clone();
        let place = whole.entries.iter().position(|it| {
            it.id == entry.id && it.destination.is_of_the_kind_of(&entry.destination)
        });
        match place {
            Some(place) => whole.entries[place] = entry.clone(),
            None => whole.entries.push(entry.clone()),
        }
        whole.entries.retain(|it| it.id != entry.id || it == entry);
        whole
    }

    /// Without the entry of this id.
    #[must_use]
    pub fn without(&self, id: &str) -> Self {
        let mut whole = self.clone();
        whole.entries.retain(|entry| entry.id != id);
        whole
    }

    /// With the events sent to EventBridge.
    #[must_use]
    pub fn with_event_bridge(&self) -> Self {
        Self { event_bridge: true, ..self.clone() }
    }

    /// Whether both say the same to S3. It may give back lists in another order, and `Prefix` for
    /// `prefix`.
    pub fn is_the_same_as(&self, other: &Self) -> bool {
        let plain = |whole: &Self| {
            let mut entries: Vec<Entry> = whole.entries.iter().map(Entry::plain).collect();
            entries.sort_by(|one, two| one.id.cmp(&two.id));
            entries
        };
        self.event_bridge == other.event_bridge && plain(self) == plain(other)
    }

    /// What differs in `after`, as the AWS CLI prints it: lines with `-` go, lines with `+` come.
    pub fn difference(&self, after: &Self) -> String {
        let mut lines = String::new();
        let mut say = |sign: char, entries: &[Entry], others: &[Entry]| {
            for entry in entries {
                if others.iter().any(|it| it.plain() == entry.plain()) {
                    continue;
                }
                lines += &format!("{sign} {}:\n", entry.destination.names().0);
                let json = format!("{:#}", entry.json());
                for line in json.lines() {
                    lines += &format!("{sign}   {line}\n");
                }
            }
        };
        say('-', &self.entries, &after.entries);
        say('+', &after.entries, &self.entries);
        match (self.event_bridge, after.event_bridge) {
            (false, true) => lines += "+ EventBridgeConfiguration: {}\n",
            (true, false) => lines += "- EventBridgeConfiguration: {}\n",
            _ => {}
        }
        lines
    }
}

/// What to do about an answer of S3 to the new configuration. `None` when it is none of those that are
/// known.
pub fn next_step(message: &str, after: &BucketNotification, id: &str) -> Option<String> {
    let message = message.to_ascii_lowercase();
    let ours = after.entry(id)?;
    if message.contains("overlap") || message.contains("ambiguous") {
        let others: Vec<String> = after
            .others(id)
            .filter(|other| other.overlaps(ours))
            .map(|other| format!("{} -> {}", other.id, other.destination))
            .collect();
        let others =
            if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        return Some(format!(
            "Something else gets these objects already{others}, and S3 tells one destination about \
             an object. Three ways out: --eventbridge, beside which everything stays (deploy with \
             TriggerMode=eventbridge); if the other is an SNS topic, subscribe alb502 to it \
             (TriggerMode=topic); or make prefix or suffix of the other entry narrower."
        ));
    }
    if message.contains("unable to validate the following destination") {
        let what = match ours.destination {
            Destination::Function(_) => {
                "may not invoke the function. The stack with TriggerMode=notification and this LogBucket \
                 gives that permission"
            }
            Destination::Queue(_) => {
                "may not send to the queue. The stack with TriggerMode=queue and this LogBucket makes a \
                 queue whose policy allows it"
            }
            Destination::Topic(_) => {
                "may not publish to the topic. Its policy needs sns:Publish for s3.amazonaws.com, and \
                 with a KMS key the key's policy too"
            }
        };
        return Some(format!(
            "S3 tried the destination and {what}. Is {} there, in the region of the bucket?",
            ours.destination
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:alb502";
    const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:alb502";

    fn function(arn: &str) -> Destination {
        Destination::Function(arn.to_owned())
    }

    fn entry(id: &str, destination: Destination, prefix: &str, suffix: &str) -> Entry {
        let rule = |name: &str, value: &str| FilterRule { name: name.into(), value: value.into() };
        Entry {
            id: id.to_owned(),
            destination,
            events: vec!["s3:ObjectCreated:Put".to_owned()],
            filter: Some(vec![rule("Prefix", prefix), rule("Suffix", suffix)]),
        }
    }

    /// What others put there, one of each kind.
    fn of_others() -> BucketNotification {
        BucketNotification {
            entries: vec![
                entry("thumbnails", function("arn:f"), "images/", ".png"),
                entry("audit", Destination::Queue("arn:q".to_owned()), "audit/", ""),
                Entry {
                    filter: None,
                    events: vec!["s3:ObjectRemoved:*".to_owned()],
                    ..entry("removed", Destination::Topic("arn:t".to_owned()), "", "")
                },
            ],
            event_bridge: true,
        }
    }

    #[test]
    fn an_entry_is_put_in_and_taken_out_and_the_rest_stays() {
        for before in [BucketNotification::default(), of_others()] {
            let ours = Entry::of_access_logs("alb502", function(FUNCTION), "prod/web");
            let after = before.with(&ours);
            assert_eq!(after.entry("alb502"), Some(&ours));
            assert_eq!(
                after.others("alb502").collect::<Vec<_>>(),
                before.entries.iter().collect::<Vec<_>>()
            );
            assert_eq!(after.event_bridge, before.event_bridge);
            assert_eq!(after.with(&ours), after, "twice is once");
            assert_eq!(after.without("alb502"), before);
            assert_eq!(before.without("alb502"), before);
        }
    }

    #[test]
    fn the_filter_is_that_of_the_load_balancers_logs() {
        for (prefix, filtered) in [("", "AWSLogs/"), ("prod/web", "prod/web/AWSLogs/")] {
            let ours = Entry::of_access_logs("alb502", function(FUNCTION), prefix);
            assert_eq!(ours.rule("prefix"), filtered);
            assert_eq!(ours.rule("suffix"), ".log.gz");
        }
    }

    #[test]
    fn an_entry_moves_to_another_destination_and_kind_under_its_id() {
        let before = of_others().with(&Entry::of_access_logs("alb502", function("arn:old"), ""));
        for destination in [function(FUNCTION), Destination::Queue(QUEUE.to_owned())] {
            let after = before.with(&Entry::of_access_logs("alb502", destination.clone(), ""));
            assert_eq!(after.entries.len(), before.entries.len());
            assert_eq!(after.entry("alb502").unwrap().destination, destination);
        }
    }

    #[test]
    fn event_bridge_is_switched_on_and_nothing_else() {
        let before = BucketNotification { event_bridge: false, ..of_others() };
        assert_eq!(before.with_event_bridge(), of_others());
        assert_eq!(of_others().with_event_bridge(), of_others());
        assert_eq!(before.difference(&of_others()), "+ EventBridgeConfiguration: {}\n");
    }

    #[test]
    fn what_s3_gives_back_differently_is_the_same() {
        let before = of_others();
        let mut back = before.clone();
        back.entries.reverse();
        for entry in &mut back.entries {
            for rule in entry.filter.iter_mut().flatten() {
                rule.name = rule.name.to_ascii_lowercase();
            }
            if let Some(rules) = &mut entry.filter {
                rules.reverse();
            }
        }
        assert!(before.is_the_same_as(&back));
        assert_eq!(before.difference(&back), "");
        back.entries[0].events.push("s3:ObjectRestore:*".to_owned());
        assert!(!before.is_the_same_as(&back));
        assert!(!before.is_the_same_as(&before.without("audit")));
        assert!(!before.is_the_same_as(&BucketNotification { event_bridge: false, ..of_others() }));
    }

    #[test]
    fn entries_overlap_when_some_object_would_go_to_both() {
        let ours = Entry::of_access_logs("alb502", function(FUNCTION), "web");
        for (prefix, suffix, overlaps) in [
            ("", "", true),
            ("web/", ".gz", true),
            ("web/AWSLogs/123456789012/", ".log.gz", true),
            ("web/", ".png", false),
            ("shop/", ".log.gz", false),
            ("web2", "", false),
        ] {
            let other = entry("other", function("arn:f"), prefix, suffix);
            assert_eq!(ours.overlaps(&other), overlaps, "{prefix} {suffix}");
            assert_eq!(other.overlaps(&ours), overlaps, "{prefix} {suffix}");
        }
        let removed = Entry { events: vec!["s3:ObjectRemoved:*".to_owned()], ..ours.clone() };
        assert!(!ours.overlaps(&removed));
    }

    #[test]
    fn the_difference_is_what_the_aws_cli_would_show() {
        let before = of_others();
        let ours = Entry::of_access_logs("alb502", Destination::Queue(QUEUE.to_owned()), "");
        let said = before.difference(&before.with(&ours));
        assert!(said.starts_with("+ QueueConfigurations:\n+   {\n"), "{said}");
        for words in [r#""Id": "alb502""#, QUEUE, r#""Value": "AWSLogs/""#, r#""Name": "suffix""#] {
            assert!(said.contains(words), "{said}");
        }
        assert!(said.lines().all(|line| line.starts_with('+')), "{said}");
        let said = before.with(&ours).difference(&before);
        assert!(said.lines().all(|line| line.starts_with('-')), "{said}");
    }

    #[test]
    fn what_s3_refuses_has_a_next_step() {
        let before = BucketNotification {
            entries: vec![entry("siem", function("arn:siem"), "", ".gz")],
            event_bridge: false,
        };
        let after = before.with(&Entry::of_access_logs("alb502", function(FUNCTION), ""));
        for (message, words) in [
            (
                "Configurations overlap. Configurations on the same bucket cannot share a common \
                 event type.",
                "siem -> arn:siem",
            ),
            (
                "An object key name filtering rule defined with overlapping prefixes",
                "--eventbridge",
            ),
            ("Unable to validate the following destination configurations", FUNCTION),
        ] {
            let said = next_step(message, &after, "alb502").unwrap();
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(next_step("Access Denied", &after, "alb502"), None);
    }
}
