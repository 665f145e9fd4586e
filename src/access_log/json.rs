//! One entry as one line of JSON, under the AWS field names in snake case.
//!
//! `client_port`, `target_port` and `request` are split as well; lists are arrays; `-` and a field
//! that the row does not have are null (but `request` is the raw text). Bytes that are no UTF-8 are replaced; the escapes of the
//! load balancer (`\x22`) stay as they are; what a terminal would obey is escaped.

use std::borrow::Cow;
use std::io;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::parse::{FIELD_NAMES, endpoint, words};
use super::{Entry, Field};
use crate::neutralize::JsonWriter;

/// Every known field, in the order of the log.
const FIELDS: [Field; FIELD_NAMES.len()] = [
    Field::Type,
    Field::Time,
    Field::Elb,
    Field::ClientPort,
    Field::TargetPort,
    Field::RequestProcessingTime,
    Field::TargetProcessingTime,
    Field::ResponseProcessingTime,
    Field::ElbStatusCode,
    Field::TargetStatusCode,
    Field::ReceivedBytes,
    Field::SentBytes,
    Field::Request,
    Field::UserAgent,
    Field::SslCipher,
    Field::SslProtocol,
    Field::TargetGroupArn,
    Field::TraceId,
    Field::DomainName,
    Field::ChosenCertArn,
    Field::MatchedRulePriority,
    Field::RequestCreationTime,
    Field::ActionsExecuted,
    Field::RedirectUrl,
    Field::ErrorReason,
    Field::TargetPortList,
    Field::TargetStatusCodeList,
    Field::Classification,
    Field::ClassificationReason,
    Field::ConnTraceId,
    Field::TransformedHost,
    Field::TransformedUri,
    Field::RequestTransformStatus,
];

/// Writes an entry and a line break.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_line(entry: &Entry<'_>, mut out: impl io::Write) -> io::Result<()> {
    serde_json::to_writer(JsonWriter(&mut out), &Json(&entry.whole()))?;
    out.write_all(b"\n")
}

struct Json<'a>(&'a Entry<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.0;
        let mut map = serializer.serialize_map(None)?;
        for (field, name) in FIELDS.into_iter().zip(FIELD_NAMES) {
            let value = entry.raw(field).unwrap_or(b"-");
            match field {
                Field::ClientPort => {
                    write_endpoint(&mut map, "client_ip", "client_port", value)?;
                }
                Field::TargetPort => {
                    write_endpoint(&mut map, "target_ip", "target_port", value)?;
                }
                Field::RequestProcessingTime
                | Field::TargetProcessingTime
                | Field::ResponseProcessingTime => match entry.seconds(field) {
                    Some(seconds) => map.serialize_entry(name, &seconds)?,
                    None => map.serialize_entry(name, &text(value))?,
                },
                Field::ElbStatusCode
                | Field::TargetStatusCode
                | Field::ReceivedBytes
                | Field::SentBytes
                | Field::MatchedRulePriority => match whole_number(value) {
                    Some(number) => map.serialize_entry(name, &number)?,
                    None => map.serialize_entry(name, &text(value))?,
                },
                Field::ActionsExecuted => map.serialize_entry(name, &list(value, b','))?,
                Field::TargetPortList | Field::TargetStatusCodeList => {
                    map.serialize_entry(name, &list(value, b' '))?;
                }
                Field::Request => {
                    let request = entry.request();
                    map.serialize_entry(name, &lossy(value))?;
                    map.serialize_entry("method", &request.method.map(lossy))?;
                    map.serialize_entry("url", &request.url.map(lossy))?;
                    map.serialize_entry("protocol", &request.protocol.map(lossy))?;
                }
                _ => map.serialize_entry(name, &text(value))?,
            }
        }
        let extra: Vec<_> = words(entry.extra()).map(lossy).collect();
        map.serialize_entry("extra", &extra)?;
        map.end()
    }
}

fn write_endpoint<M: SerializeMap>(
    map: &mut M,
    address_name: &'static str,
    port_name: &'static str,
    value: &[u8],
) -> Result<(), M::Error> {
    let (address, port) = match value {
        b"-" | b"-1" => (None, None),
        _ => {
            let (address, port) = endpoint(value);
            (Some(lossy(address)), port)
        }
    };
    map.serialize_entry(address_name, &address)?;
    map.serialize_entry(port_name, &port)
}

fn lossy(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    (value != b"-").then(|| lossy(value))
}

fn list(value: &[u8], separator: u8) -> Vec<Cow<'_, str>> {
    if value.is_empty() || value == b"-" {
        return Vec::new();
    }
    value.split(|byte| *byte == separator).map(lossy).collect()
}

fn whole_number(value: &[u8]) -> Option<i64> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(line: &[u8]) -> Value {
        let mut out = Vec::new();
        write_line(&Entry::parse(line).unwrap(), &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn fields_stand_in_their_order() {
        assert!(FIELDS.iter().enumerate().all(|(at, field)| *field as usize == at));
    }

    #[test]
    fn renders_a_whole_entry() {
        let value = parsed(
            b"https 2026-11-20T12:05:00.123456Z app/shop/50dc6c495c0c9188 2001:db8::7:50122 \
              [2001:db8::9]:8080 0.001 -1 0.000 502 - 410 - \"GET https://example.com:443/a b HTTP/1.1\" \
              \"\\x22a\\x22 \xff\" - TLSv1.3 - \"-\" \"example.com\" \"session-reused\" -1 \
              2026-11-20T12:05:00.101000Z \"waf,forward\" \"-\" \"-\" \"192.0.2.1:80 192.0.2.2:80\" \
              \"502\" \"-\" \"-\" TID_01 \"-\" \"-\" \"-\" new \"two words\"",
        );
        assert_eq!(
            value,
            json!({
                "type": "https", "time": "2026-11-20T12:05:00.123456Z",
                "elb": "app/shop/50dc6c495c0c9188",
                "client_ip": "2001:db8::7", "client_port": 50122,
                "target_ip": "2001:db8::9", "target_port": 8080,
                "request_processing_time": 0.001, "target_processing_time": -1.0,
                "response_processing_time": 0.0,
                "elb_status_code": 502, "target_status_code": null,
                "received_bytes": 410, "sent_bytes": null,
                "request": "GET https://example.com:443/a b HTTP/1.1",
                "method": "GET", "url": "https://example.com:443/a b", "protocol": "HTTP/1.1",
                "user_agent": "\\x22a\\x22 \u{fffd}",
                "ssl_cipher": null, "ssl_protocol": "TLSv1.3", "target_group_arn": null,
                "trace_id": null, "domain_name": "example.com",
                "chosen_cert_arn": "session-reused", "matched_rule_priority": -1,
                "request_creation_time": "2026-11-20T12:05:00.101000Z",
                "actions_executed": ["waf", "forward"], "redirect_url": null, "error_reason": null,
                "target_port_list": ["192.0.2.1:80", "192.0.2.2:80"],
                "target_status_code_list": ["502"],
                "classification": null, "classification_reason": null, "conn_trace_id": "TID_01",
                "transformed_host": null, "transformed_uri": null,
                "request_transform_status": null, "extra": ["new", "two words"],
            })
        );
    }

    #[test]
    fn what_is_no_number_stays_a_text() {
        let value = parsed(
            b"http 2026-11-20T12:05:00Z shop x.0.0.7:x - nan inf - 5xx 99999999999999999999 +1 \
              0x10 \"- http://example.com:80- -\" \"-\" - - - \"-\"",
        );
        for (name, expected) in [
            ("client_ip", json!("x.0.0.7:x")),
            ("client_port", json!(null)),
            ("target_ip", json!(null)),
            ("request_processing_time", json!("nan")),
            ("target_processing_time", json!("inf")),
            ("response_processing_time", json!(null)),
            ("elb_status_code", json!("5xx")),
            ("target_status_code", json!("99999999999999999999")),
            ("received_bytes", json!("+1")),
            ("sent_bytes", json!("0x10")),
            ("method", json!(null)),
            ("url", json!("http://example.com:80-")),
            ("protocol", json!(null)),
            ("actions_executed", json!([])),
            ("extra", json!([])),
            ("conn_trace_id", json!(null)),
        ] {
            assert_eq!(value.get(name), Some(&expected), "{name}");
        }
    }
}
