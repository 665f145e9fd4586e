//! What `alb502 probe` measured of targets of the incident.

use super::markup::Markup;
use crate::{
    diagnosis::{
        Diagnosis,
        probes::{Certainty, ProbeFigure, ProbeFindingFigure, WouldBe},
    },
    notification::probed,
    numbers::seconds,
};

/// The probes, one below the other; nothing when there is none.
pub(super) fn probes(diagnosis: &Diagnosis, markup: &mut Markup) {
    let probes = &diagnosis.facts.probes;
    if probes.is_empty() {
        return;
    }
    markup.raw("<section><h3>Probe</h3>\n<p class=\"note\">What <code>alb502 probe</code> saw when it asked targets as a load balancer does: of one path and one moment.</p>\n");
    for it in probes {
        probe(it, diagnosis, markup);
    }
    markup.raw("</section>\n");
}

fn probe(probe: &ProbeFigure, diagnosis: &Diagnosis, markup: &mut Markup) {
    let time = probe.time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    markup.raw("<div class=\"cause\"><h4>").value(&probe.target).raw("</h4>\n<p class=\"note\">");
    markup.text(&time).raw(" UTC, ").value(&probe.method).raw(" <code>").value(&probe.path);
    markup.raw("</code></p>\n<dl class=\"facts\">\n");
    fact("Answer", &upper_first(&probed::answer(probe)), markup);
    if let Some(tls) = probe.tls {
        fact("TLS handshake", tls, markup);
    }
    if let Some(said) = probed::keep_alive(probe) {
        let mut said = format!("{}.", upper_first(&said));
        let estimate = diagnosis.facts.keep_alive_estimate_seconds;
        if let Some(inferred) = estimate.filter(|_| probe.keep_alive_seconds.is_some()) {
            said.push_str(&format!(
                " From the rows about {} was inferred.",
                seconds(inferred.best)
            ));
        }
        said.push_str(&format!(
            " It was told an idle timeout of {} s.",
            probe.idle_timeout_seconds
        ));
        fact("Keep-alive timeout", &said, markup);
    }
    markup.raw("</dl>\n");
    if probe.findings.is_empty() {
        markup.raw("<p>Nothing that a load balancer objects to.</p>\n");
    } else {
        markup.raw("<ul class=\"checks\">");
        for it in &probe.findings {
            finding(it, markup);
        }
        markup.raw("</ul>\n");
    }
    markup.raw("</div>\n");
}

fn fact(name: &'static str, said: &str, markup: &mut Markup) {
    markup.raw("<div><dt>").raw(name).raw("</dt><dd>").text(said).raw("</dd></div>\n");
}

fn finding(finding: &ProbeFindingFigure, markup: &mut Markup) {
    let (class, would_be) = match finding.would_be {
        WouldBe::BadGateway => ("fail", "would be a 502"),
        WouldBe::GatewayTimeout => ("fail", "would be a 504"),
        WouldBe::Nothing => ("advice", "no 502"),
    };
    let certainty = match finding.certainty {
        Certainty::Documented => "documented by AWS",
        Certainty::Likely => "likely: strict parsers refuse it",
        Certainty::Possible => "possible: some parsers are lenient",
    };
    markup.raw("<li><p class=\"check\"><span class=\"badge ").raw(class).raw("\">").raw(would_be);
    markup.raw("</span> <b>").text(&finding.cause).raw("</b> <small>").raw(certainty);
    markup.raw("</small></p>\n<p>").text(&finding.why).raw("</p></li>\n");
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
