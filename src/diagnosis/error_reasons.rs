//! Documented values of `error_reason` that are no cause of a 502: what they stand for.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>

/// The codes by the action that sets them.
const CODES: &[(&str, &[&str])] = &[
    (
        "an authenticate action failed",
        &[
            "AuthInvalidCookie",
            "AuthInvalidGrantError",
            "AuthInvalidIdToken",
            "AuthInvalidStateParam",
            "AuthInvalidTokenResponse",
            "AuthInvalidUserinfoResponse",
            "AuthMissingCodeParam",
            "AuthMissingHostHeader",
            "AuthMissingStateParam",
            "AuthTokenEpRequestFailed",
            "AuthTokenEpRequestTimeout",
            "AuthUnhandledException",
            "AuthUserinfoEpRequestFailed",
            "AuthUserinfoEpRequestTimeout",
            "AuthUserinfoResponseSizeExceeded",
        ],
    ),
    (
        "a JWT validation failed",
        &[
            "JWTHeaderNotPresent",
            "JWTRequestFormatInvalid",
            "JWKSRequestTimeout",
            "JWKSResponseSizeExceeded",
            "JWKSRequestFailed",
            "JWKSResponseInvalid",
            "JWTSignatureValidationError",
            "JWTSignatureValidationFailed",
            "JWTClaimNotPresent",
            "JWTClaimFormatInvalid",
            "JWTClaimValueInvalid",
            "JWTValidationInternalError",
        ],
    ),
    (
        "the cookie of a weighted target group failed",
        &["AWSALBTGCookieInvalid", "WeightedTargetGroupsUnhandledException"],
    ),
    (
        "the WAF integration failed",
        &[
            "WAFConnectionError",
            "WAFConnectionTimeout",
            "WAFResponseReadTimeout",
            "WAFServiceError",
            "WAFUnhandledException",
        ],
    ),
];

/// What a documented code stands for; `None` for one that AWS does not document.
pub fn meaning(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(_, codes)| codes.contains(&code)).map(|(meaning, _)| *meaning)
}
