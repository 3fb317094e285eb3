//! The claims of a token whose signature is right, read strictly: a claim of the wrong JSON type counts as missing.

use pact_runtime::Timestamp;
use serde_json::{Map, Value};

use super::Refusal;

pub(super) struct Claims(Value);

impl Claims {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(payload) {
            Ok(claims @ Value::Object(_)) => Ok(Self(claims)),
            _ => Err(Refusal::Form),
        }
    }

    pub(super) fn issuer(&self) -> Result<&str, Refusal> {
        self.text("iss")
    }

    pub(super) fn subject(&self) -> Result<&str, Refusal> {
        self.text("sub")
    }

    /// `aud`: a text or a list of texts.
    pub(super) fn audiences(&self) -> Result<Vec<&str>, Refusal> {
        let wrong = Refusal::Claim { claim: "aud" };
        match self.0.get("aud") {
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(many)) => {
                many.iter().map(|each| each.as_str().ok_or_else(|| wrong.clone())).collect()
            }
            _ => Err(wrong),
        }
    }

    /// `azp`, or `client_id` where an issuer writes that instead.
    pub(super) fn authorized_party(&self) -> Result<Option<&str>, Refusal> {
        for claim in ["azp", "client_id"] {
            if self.0.get(claim).is_some() {
                return self.text(claim).map(Some);
            }
        }
        Ok(None)
    }

    pub(super) fn expires(&self) -> Result<Timestamp, Refusal> {
        self.time("exp")?.ok_or(Refusal::Claim { claim: "exp" })
    }

    pub(super) fn not_before(&self) -> Result<Option<Timestamp>, Refusal> {
        self.time("nbf")
    }

    pub(super) fn issued(&self) -> Result<Option<Timestamp>, Refusal> {
        self.time("iat")
    }

    /// The texts at a claim: one text, or a list of which whatever is no text is skipped.
    pub(super) fn texts_at(&self, path: &str) -> Vec<&str> {
        let found = if path.starts_with('/') { self.0.pointer(path) } else { self.0.get(path) };
        match found {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn text(&self, claim: &'static str) -> Result<&str, Refusal> {
        match self.0.get(claim) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            _ => Err(Refusal::Claim { claim }),
        }
    }

    /// Unix seconds as a JSON number, cut to whole ones (RFC 7519: a NumericDate may have a fraction or an exponent); `None`
    /// when there is no such claim.
    fn time(&self, claim: &'static str) -> Result<Option<Timestamp>, Refusal> {
        let claims: &Map<String, Value> = self.0.as_object().ok_or(Refusal::Form)?;
        let Some(value) = claims.get(claim) else { return Ok(None) };
        let whole = value.as_u64().and_then(|seconds| i64::try_from(seconds).ok());
        let seconds = whole.or_else(|| value.as_f64().and_then(cut));
        seconds.and_then(Timestamp::from_unix_seconds).map(Some).ok_or(Refusal::Claim { claim })
    }
}

/// Whole seconds of a fraction, where an `i64` of nanoseconds holds them.
fn cut(seconds: f64) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "bounded, and to be cut")]
    (0.0..9.2e9).contains(&seconds).then_some(seconds as i64)
}
