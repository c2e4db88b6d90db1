//! Asking the issuer about a token (RFC 7662).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::claims::Claims;
use super::{Dial, http};
use crate::config::OAuth;
use crate::types::Secret;

/// Longest client secret read, in octets.
const MOST_SECRET_BYTES: u64 = 4096;

/// Asks; what the issuer says, or a sentence about what went wrong. The caller bounds the time.
pub(super) async fn ask(dial: &dyn Dial, settings: &OAuth, token: &Secret) -> Result<Claims, String> {
    let place = http::place(&settings.introspection_url).ok_or("introspection_url is no https URL")?;
    let request = request(&place, settings, token)?;
    let mut stream = dial
        .dial(place.host, place.port, &settings.ca_file)
        .await
        .map_err(|error| format!("{}: {error}", place.authority))?;
    let body = http::talk(&mut *stream, request.reveal()).await?;
    Claims::read(&body).ok_or_else(|| "the answer is no JSON object".into())
}

fn request(place: &http::Place<'_>, settings: &OAuth, token: &Secret) -> Result<Secret, String> {
    // RFC 7662 §2.1: the token, and a hint of what it is, as a form.
    let mut body = b"token=".to_vec();
    body.extend_from_slice(form(token.reveal()).as_bytes());
    body.extend_from_slice(b"&token_type_hint=access_token");
    let authorization = if settings.introspection_client_id.is_empty() {
        String::new()
    } else {
        let secret = client_secret(settings)?;
        // RFC 6749 §2.3.1: both in form encoding, then Basic.
        let pair = format!("{}:{}", form(settings.introspection_client_id.as_bytes()), form(secret.reveal()));
        format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
    };
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Type: application/x-www-form-urlencoded\r\n\
         Accept: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        place.path,
        place.authority,
        body.len()
    )
    .into_bytes();
    request.append(&mut body);
    Ok(Secret::new(request))
}

/// The secret of this server at the issuer, from a file of its own, so that the configuration can be shown around.
fn client_secret(settings: &OAuth) -> Result<Secret, String> {
    use std::io::Read;
    let path = &settings.introspection_client_secret_file;
    if path.as_os_str().is_empty() {
        return Ok(Secret::new(""));
    }
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut octets = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MOST_SECRET_BYTES).read_to_end(&mut octets).map_err(cannot)?;
    Ok(Secret::new(octets.trim_ascii_end()))
}

/// application/x-www-form-urlencoded.
fn form(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for octet in octets {
        match octet {
            octet if octet.is_ascii_alphanumeric() || b"-._*".contains(octet) => out.push(char::from(*octet)),
            octet => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_token_can_break_out_of_the_form() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("secret");
        std::fs::write(&file, "s3cr&t\n").expect("written");
        let settings = OAuth {
            introspection_client_id: "mail:server".into(),
            introspection_client_secret_file: file,
            ..OAuth::default()
        };
        let place = http::place("https://id.example:8443/introspect").expect("a place");
        let request = request(&place, &settings, &Secret::new("a&active=true\r\nX: y+/=")).expect("made");
        let text = String::from_utf8(request.reveal().to_vec()).expect("text");
        let expected = "POST /introspect HTTP/1.1\r\nHost: id.example:8443\r\n\
            Authorization: Basic bWFpbCUzQXNlcnZlcjpzM2NyJTI2dA==\r\n\
            Content-Type: application/x-www-form-urlencoded\r\nAccept: application/json\r\nContent-Length: 80\r\n\
            Connection: close\r\n\r\n\
            token=a%26active%3Dtrue%0D%0AX%3A%20y%2B%2F%3D&token_type_hint=access_token";
        let length = text.split("\r\n\r\n").nth(1).expect("a body").len();
        assert_eq!(text, expected.replace("Length: 80", &format!("Length: {length}")));
    }
}
