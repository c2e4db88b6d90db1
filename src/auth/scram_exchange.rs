//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).
//! Names in order: the client's first message, what is stored of the user (asked for with [`Step::LookUp`]), the
//! server's first message, the client's last one. A wrong proof and a wrong channel binding end alike.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::scram::hmac_sha256;
use super::{Claim, MOST_NAME_OCTETS, Proof, ScramVerifier, Step, sasl_base64};

/// Longest message of a client, in octets.
const MOST_MESSAGE_OCTETS: usize = 4096;

/// What both ends of a TLS connection know about it and nobody in between can know (RFC 5056).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// RFC 9266 §2; only with TLS 1.3, where it is always sound.
    pub tls_exporter: Option<[u8; 32]>,
    /// RFC 5929 §4: the hash of the server's certificate.
    pub tls_server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// True when there is anything to bind to, so that -PLUS can be offered.
    pub fn are_there(&self) -> bool {
        self.tls_exporter.is_some() || self.tls_server_end_point.is_some()
    }

    /// What there is to bind to, the best first: each type's registered name and its data.
    // tls-unique, the default of RFC 5802 §6.1, is unsound without care (RFC 7677 §4) and gone in TLS 1.3.
    pub fn types(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let exporter = self.tls_exporter.as_ref().map(|octets| ("tls-exporter", octets.as_slice()));
        let end_point = self.tls_server_end_point.as_deref().map(|octets| ("tls-server-end-point", octets));
        exporter.into_iter().chain(end_point)
    }

    /// The data of a type by its registered name.
    fn of(&self, name: &[u8]) -> Option<&[u8]> {
        self.types().find(|(kind, _)| kind.as_bytes() == name).map(|(_, data)| data)
    }
}

/// What the exchange needs to know of the user: verifiers that share salt and count, one for each of his passwords.
/// For an unknown user they are made up; then none fits any proof.
#[derive(Debug, Clone)]
pub struct ScramUser {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub verifiers: Vec<ScramVerifier>,
}

/// One exchange.
#[derive(Debug)]
pub struct ScramExchange {
    is_plus: bool,
    bindings: ChannelBindings,
    /// The server's part of the nonce.
    nonce: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Fresh,
    /// The user is being looked up.
    Asking(First),
    /// The server's first message is out.
    Asked {
        first: First,
        server_first: String,
        verifiers: Vec<ScramVerifier>,
    },
    Over,
}

/// The client's first message.
#[derive(Debug)]
struct First {
    /// As it came, to be repeated by the client's `c=`.
    gs2_header: Vec<u8>,
    /// What the channel binding must add to it.
    bound: Vec<u8>,
    authorize_as: Option<String>,
    user: String,
    nonce: String,
    bare: String,
}

impl ScramExchange {
    /// An exchange of the plain or the -PLUS mechanism. `bindings`: what the connection has, also for the plain one,
    /// which must notice when somebody took -PLUS out of the list. `nonce`: fresh random printable characters
    /// without a comma.
    pub fn new(is_plus: bool, bindings: ChannelBindings, nonce: String) -> Self {
        ScramExchange { is_plus, bindings, nonce, state: State::Fresh }
    }

    /// Starts with the client's initial response, if it sent one.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.eat(message),
            // RFC 4422 §5: the client speaks first, so the challenge before its message is empty.
            None => Step::Challenge(Vec::new()),
        }
    }

    /// Eats the client's next message.
    pub fn eat(&mut self, message: &[u8]) -> Step {
        if message.len() > MOST_MESSAGE_OCTETS {
            self.state = State::Over;
            return Step::Failed("a message of SCRAM that is too long");
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Fresh => match self.read_first(message) {
                Ok(first) => {
                    let user = first.user.clone();
                    self.state = State::Asking(first);
                    Step::LookUp(user)
                }
                Err(why) => Step::Failed(why),
            },
            State::Asked { first, server_first, verifiers } => {
                match judge(message, &first, &server_first, &verifiers) {
                    Ok((verifier, server_final)) => {
                        let (authorize_as, user) = (first.authorize_as, first.user);
                        Step::Done(Claim::Proof(Proof { authorize_as, user, verifier, server_final }))
                    }
                    Err(why) => Step::Failed(why),
                }
            }
            State::Asking(_) | State::Over => Step::Failed("a message of SCRAM that nobody asked for"),
        }
    }

    /// Goes on with what is stored of the user that was asked for.
    pub fn supply(&mut self, user: ScramUser) -> Step {
        let State::Asking(first) = std::mem::replace(&mut self.state, State::Over) else {
            return Step::Failed("a user that nobody asked for");
        };
        let salt = sasl_base64::encode(&user.salt);
        let server_first = format!("r={}{},s={salt},i={}", first.nonce, self.nonce, user.iterations);
        let challenge = server_first.clone().into_bytes();
        self.state = State::Asked { first, server_first, verifiers: user.verifiers };
        Step::Challenge(challenge)
    }

    /// ```text
    /// client-first-message      = gs2-header client-first-message-bare
    /// gs2-header                = gs2-cbind-flag "," [ authzid ] ","
    /// gs2-cbind-flag            = ("p=" cb-name) / "n" / "y"
    /// client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
    /// ```
    fn read_first(&self, message: &[u8]) -> Result<First, &'static str> {
        let text = std::str::from_utf8(message).map_err(|_| "a message of SCRAM that is no UTF-8")?;
        let no_message = "no first message of SCRAM";
        let mut fields = text.splitn(3, ',');
        let (flag, authzid) = (fields.next().ok_or(no_message)?, fields.next().ok_or(no_message)?);
        let bare = fields.next().ok_or(no_message)?;
        let bound = self.bound_by(flag)?;
        let authorize_as = match authzid {
            "" => None,
            given => Some(name_in(given.strip_prefix("a=").ok_or(no_message)?).ok_or("a bad authzid")?),
        };
        let mut fields = bare.split(',');
        let (user, nonce) = (fields.next().ok_or(no_message)?, fields.next().ok_or(no_message)?);
        // RFC 5802 §5.1, "m": a mandatory extension nobody knows must fail; optional ones are ignored.
        let user = user.strip_prefix("n=").ok_or(no_message)?;
        let user = name_in(user).ok_or("a bad user name")?;
        let nonce = nonce.strip_prefix("r=").filter(|nonce| is_printable(nonce)).ok_or("a bad nonce")?;
        if !fields.all(is_extension) {
            return Err("what follows the nonce are no extensions");
        }
        let gs2_header = text.as_bytes()[..text.len() - bare.len()].to_vec();
        Ok(First { gs2_header, bound, authorize_as, user, nonce: nonce.to_owned(), bare: bare.to_owned() })
    }

    /// What must be bound, by the first field of the client's first message.
    fn bound_by(&self, flag: &str) -> Result<Vec<u8>, &'static str> {
        match flag {
            "n" | "y" if self.is_plus => Err("-PLUS without a channel binding"),
            "n" => Ok(Vec::new()),
            // RFC 5802 §6: a client that could bind but saw no -PLUS, while there was one, was lied to on the way.
            "y" if self.bindings.are_there() => Err("the client was not shown -PLUS: somebody may be in between"),
            "y" => Ok(Vec::new()),
            _ => {
                let name = flag.strip_prefix("p=").ok_or("no first message of SCRAM")?;
                if !self.is_plus {
                    return Err("a channel binding without -PLUS");
                }
                let data = self.bindings.of(name.as_bytes());
                data.map(<[u8]>::to_vec).ok_or("a type of channel binding that is not there")
            }
        }
    }
}

/// ```text
/// client-final-message = channel-binding "," nonce ["," extensions] "," proof
/// ```
/// Which verifier the proof fits, if any, and the server's last message for it.
fn judge(
    message: &[u8],
    first: &First,
    server_first: &str,
    verifiers: &[ScramVerifier],
) -> Result<(Option<usize>, Vec<u8>), &'static str> {
    let no_message = "no last message of SCRAM";
    let text = std::str::from_utf8(message).map_err(|_| no_message)?;
    let (without_proof, proof) = text.rsplit_once(",p=").ok_or(no_message)?;
    let proof: [u8; 32] =
        sasl_base64::decode(proof.as_bytes()).and_then(|octets| octets.try_into().ok()).ok_or("a bad proof")?;
    let mut fields = without_proof.split(',');
    let binding = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(no_message)?;
    let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(no_message)?;
    if !fields.all(is_extension) {
        return Err(no_message);
    }
    // RFC 5802 §5.1, "r": the nonce must be the one the server sent.
    if !server_first
        .strip_prefix("r=")
        .and_then(|rest| rest.strip_prefix(nonce))
        .is_some_and(|rest| rest.starts_with(','))
    {
        return Err("another nonce");
    }
    let binding = sasl_base64::decode(binding.as_bytes()).ok_or("a channel binding that is no base64")?;
    let expected = [first.gs2_header.as_slice(), &first.bound].concat();
    if !bool::from(binding.ct_eq(&expected)) {
        return Err("another channel binding: somebody may be in between");
    }
    let auth_message = format!("{},{server_first},{without_proof}", first.bare);
    let mut found = None;
    // Every verifier is tried, so that time does not tell which of them it was.
    for (at, verifier) in verifiers.iter().enumerate() {
        // RFC 5802 §3: ClientProof := ClientKey XOR ClientSignature, StoredKey := H(ClientKey).
        let signature = hmac_sha256(&verifier.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let is_right: bool = Sha256::digest(client_key).as_slice().ct_eq(&verifier.stored_key).into();
        if is_right {
            found = Some(at);
        }
    }
    let server_final = found.map(|at| {
        let signature = hmac_sha256(&verifiers[at].server_key, auth_message.as_bytes());
        format!("v={}", sasl_base64::encode(&signature)).into_bytes()
    });
    Ok((found, server_final.unwrap_or_default()))
}

/// ```text
/// saslname = 1*(value-safe-char / "=2C" / "=3D")
/// ```
fn name_in(text: &str) -> Option<String> {
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let mut name = String::with_capacity(text.len());
    let mut pieces = text.split('=');
    name.push_str(pieces.next()?);
    for piece in pieces {
        // RFC 5802 §5.1, "n": "=" is followed by 2C or 3D, or the exchange fails.
        let (escaped, rest) = piece.split_at_checked(2)?;
        name.push(match escaped {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    (name.len() <= MOST_NAME_OCTETS).then_some(name)
}

/// printable = %x21-2B / %x2D-7E, at least one
fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// attr-val = ALPHA "=" value; `m` is the one that must not be passed over.
fn is_extension(field: &str) -> bool {
    let mut octets = field.bytes();
    octets.next().is_some_and(|letter| letter.is_ascii_alphabetic() && letter != b'm') && octets.next() == Some(b'=')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::types::Secret;

    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn verifier(password: &str) -> ScramVerifier {
        let salt = sasl_base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        ScramVerifier::derive(&Secret::new(password), &salt, 4096)
    }

    fn user(passwords: &[&str]) -> ScramUser {
        let verifiers: Vec<_> = passwords.iter().map(|password| verifier(password)).collect();
        ScramUser { salt: verifiers[0].salt.clone(), iterations: 4096, verifiers }
    }

    fn bindings() -> ChannelBindings {
        ChannelBindings { tls_exporter: Some([7; 32]), tls_server_end_point: Some(vec![9; 32]) }
    }

    /// The last message of a client that does everything right, with the channel binding data it saw.
    pub fn answer(password: &str, header: &str, bare: &str, seen: &[u8], server_first: &[u8]) -> String {
        let server_first = std::str::from_utf8(server_first).expect("text");
        let field = |name: &str| server_first.split(',').find_map(|field| field.strip_prefix(name)).expect("a field");
        let salt = sasl_base64::decode(field("s=").as_bytes()).expect("base64");
        let iterations = field("i=").parse().expect("a number");
        let bound = sasl_base64::encode(&[header.as_bytes(), seen].concat());
        let without_proof = format!("c={bound},r={}", field("r="));
        let message = format!("{bare},{server_first},{without_proof}");
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let signature = hmac_sha256(&Sha256::digest(client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", sasl_base64::encode(&proof))
    }

    fn play(exchange: &mut ScramExchange, header: &str, seen: &[u8], password: &str) -> Step {
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let step = exchange.start(Some(format!("{header}{bare}").as_bytes()));
        if step != Step::LookUp("user".into()) {
            return step;
        }
        let Step::Challenge(server_first) = exchange.supply(user(&["pencil", "phone"])) else { panic!("no challenge") };
        exchange.eat(answer(password, header, bare, seen, &server_first).as_bytes())
    }

    fn outcome(step: Step) -> Option<usize> {
        match step {
            Step::Done(Claim::Proof(proof)) => proof.verifier,
            _ => None,
        }
    }

    /// RFC 7677 §3
    #[test]
    fn the_exchange_of_the_rfc() {
        let mut exchange = ScramExchange::new(false, ChannelBindings::default(), NONCE.into());
        assert_eq!(exchange.start(None), Step::Challenge(Vec::new()));
        assert_eq!(exchange.eat(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), Step::LookUp("user".into()));
        let server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(exchange.supply(user(&["pencil"])), Step::Challenge(server_first.into()));
        let last = exchange.eat(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        );
        let server_final = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        let proof = Proof { authorize_as: None, user: "user".into(), verifier: Some(0), server_final };
        assert_eq!(last, Step::Done(Claim::Proof(proof)));
        assert!(matches!(exchange.eat(b"c=biws"), Step::Failed(_)), "it is over");
    }

    #[test]
    fn each_password_of_the_user_is_known_and_no_other() {
        for (password, expected) in [("pencil", Some(0)), ("phone", Some(1)), ("Pencil", None), ("", None)] {
            let mut exchange = ScramExchange::new(false, ChannelBindings::default(), NONCE.into());
            assert_eq!(outcome(play(&mut exchange, "n,,", b"", password)), expected, "{password}");
        }
    }

    #[test]
    fn plus_binds_to_the_channel_and_only_to_this_one() {
        for (header, seen, expected) in [
            ("p=tls-exporter,,", &[7; 32][..], Some(0)),
            ("p=tls-server-end-point,,", &[9; 32], Some(0)),
            ("p=tls-exporter,a=other,", &[7; 32], Some(0)),
            ("p=tls-exporter,,", &[8; 32], None),
            ("p=tls-exporter,,", &[9; 32], None),
            ("p=tls-exporter,,", b"", None),
            ("p=tls-unique,,", &[7; 32], None),
            ("p=,,", b"", None),
            ("n,,", b"", None),
            ("y,,", b"", None),
        ] {
            let mut exchange = ScramExchange::new(true, bindings(), NONCE.into());
            assert_eq!(outcome(play(&mut exchange, header, seen, "pencil")), expected, "{header}");
        }
        let mut exchange = ScramExchange::new(true, ChannelBindings::default(), NONCE.into());
        assert_eq!(outcome(play(&mut exchange, "p=tls-exporter,,", &[7; 32], "pencil")), None);
    }

    #[test]
    fn a_client_that_was_not_shown_plus_is_told_no() {
        let plain = |bindings: ChannelBindings, header: &str| {
            outcome(play(&mut ScramExchange::new(false, bindings, NONCE.into()), header, b"", "pencil"))
        };
        assert_eq!(plain(bindings(), "y,,"), None);
        assert_eq!(plain(ChannelBindings::default(), "y,,"), Some(0));
        assert_eq!(plain(bindings(), "n,,"), Some(0), "a client that cannot bind");
        assert_eq!(plain(bindings(), "p=tls-exporter,,"), None, "bound, but by the other mechanism");
    }

    #[test]
    fn names_are_unescaped_and_bad_ones_fail() {
        assert_eq!(name_in("a=2Cb=3Dc"), Some("a,b=c".into()));
        assert_eq!(name_in("müller"), Some("müller".into()));
        for bad in ["", "=", "a=2", "a=2c", "a=2D", "=3", "a\0", "a=ü", &"x".repeat(256)] {
            assert_eq!(name_in(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_first_message_fails() {
        let long = format!("n,,n=user,r={}", "x".repeat(5000));
        let cases: [&[u8]; 16] = [
            b"",
            b"n",
            b"n,",
            b"n,,",
            b"x,,n=u,r=a",
            b"n,b=x,n=u,r=a",
            b"n,,r=a,n=u",
            b"n,,n=u",
            b"n,,n=u,r=",
            b"n,,m=x,n=u,r=a",
            b"n,,n=u,r=a,m=x",
            b"n,,n=u,r=a,",
            b"n,,n=u,r=a b",
            b"n,,n=\xff,r=a",
            b"n,a=,n=u,r=a",
            long.as_bytes(),
        ];
        for message in cases {
            let mut exchange = ScramExchange::new(false, ChannelBindings::default(), NONCE.into());
            let step = exchange.start(Some(message));
            assert!(matches!(step, Step::Failed(_)), "{:?}", String::from_utf8_lossy(message));
        }
        let mut exchange = ScramExchange::new(false, ChannelBindings::default(), NONCE.into());
        assert_eq!(exchange.start(Some(b"n,,n=u,r=a,x=1,y=2")), Step::LookUp("u".into()), "optional extensions pass");
    }

    #[test]
    fn what_is_no_last_message_fails() {
        let proof = sasl_base64::encode(&[0; 32]);
        let nonce = format!("r=abc{NONCE}");
        let bad = [
            String::new(),
            format!("c=biws,{nonce}"),
            format!("c=biws,{nonce},p="),
            format!("c=biws,{nonce},p=AAAA"),
            format!("c=biws,r=abc,p={proof}"),
            format!("c=biws,{nonce}x,p={proof}"),
            format!("c=biws,r={NONCE},p={proof}"),
            format!("c=eSws,{nonce},p={proof}"),
            format!("c=,{nonce},p={proof}"),
            format!("c=biws,{nonce},m=x,p={proof}"),
            format!("{nonce},c=biws,p={proof}"),
        ];
        for message in bad {
            let mut exchange = ScramExchange::new(false, ChannelBindings::default(), NONCE.into());
            exchange.start(Some(b"n,,n=user,r=abc"));
            exchange.supply(user(&["pencil"]));
            assert!(matches!(exchange.eat(message.as_bytes()), Step::Failed(_)), "{message}");
        }
    }

    #[test]
    fn steps_out_of_order_fail() {
        let new = || ScramExchange::new(false, ChannelBindings::default(), NONCE.into());
        assert!(matches!(new().supply(user(&["pencil"])), Step::Failed(_)));
        let mut exchange = new();
        exchange.start(Some(b"n,,n=user,r=abc"));
        assert!(matches!(exchange.eat(b"n,,n=user,r=abc"), Step::Failed(_)));
    }
}
