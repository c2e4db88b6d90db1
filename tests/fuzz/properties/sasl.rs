//! What signs in: PLAIN's message, base64 lines, stored verifiers.

use pillarbox::auth::{Claim, Plain, ScramVerifier, Step, sasl_base64};

pub fn check(input: &[u8]) {
    match super::in_linear_time(input.len(), || Plain::new().start(Some(input))) {
        Step::Done(Claim::Password(identity)) => {
            assert!(!identity.user.is_empty() && !identity.password.reveal().is_empty());
            let authorize_as = identity.authorize_as.unwrap_or_default();
            let fields = [authorize_as.as_bytes(), identity.user.as_bytes(), identity.password.reveal()];
            assert_eq!(fields.join(&0), input);
        }
        Step::Failed(_) => {}
        step => panic!("PLAIN has no second round: {step:?}"),
    }
    if let Some(octets) = super::in_linear_time(input.len(), || sasl_base64::decode(input)) {
        assert_eq!(sasl_base64::encode(&octets).as_bytes(), input);
    }
    assert_eq!(sasl_base64::decode(sasl_base64::encode(input).as_bytes()).as_deref(), Some(input));
    assert_eq!(sasl_base64::decode_initial(input).is_some(), input == b"=" || sasl_base64::decode(input).is_some());
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(verifier) = text.parse::<ScramVerifier>()
    {
        assert_eq!(verifier.to_string().parse(), Ok(verifier));
    }
}
