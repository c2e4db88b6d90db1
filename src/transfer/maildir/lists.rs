//! What Maildir and Dovecot write about messages: the letters in file names, `dovecot-uidlist`, `dovecot-keywords`,
//! `subscriptions`, and our own `pillarbox-messages`. Pure functions over the octets of those files; lines that mean
//! nothing are passed over.

use crate::types::date::DateTime;
use crate::types::{Flag, FlagSet, Keyword, SystemFlag};

/// Maildir's letters for keywords: a to z.
pub const LETTERS: usize = 26;

/// The letters of file names, in the order of the alphabet, as Maildir wants them.
const FLAGS: [(u8, SystemFlag); 5] = [
    (b'D', SystemFlag::Draft),
    (b'F', SystemFlag::Flagged),
    (b'R', SystemFlag::Answered),
    (b'S', SystemFlag::Seen),
    (b'T', SystemFlag::Deleted),
];
/// P, "passed", has no system flag; this keyword is what mail programs use for it.
const FORWARDED: &str = "$Forwarded";

/// A file's name without what changes, and the letters behind it.
pub fn split(file_name: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', file_name) {
        None => (file_name, b""),
        Some(at) => (&file_name[..at], file_name[at + 1..].strip_prefix(b"2,").unwrap_or(b"")),
    }
}

/// What the letters say. `keywords`: by letter, as `dovecot-keywords` has them. The second: letters that are in
/// neither table.
pub fn flags(letters: &[u8], keywords: &[Option<Keyword>]) -> (FlagSet, Vec<u8>) {
    let (mut flags, mut unknown) = (FlagSet::new(), Vec::new());
    for letter in letters {
        let flag = match letter {
            b'P' => Keyword::new(FORWARDED).map(Flag::Keyword),
            b'a'..=b'z' => keywords.get(usize::from(letter - b'a')).cloned().flatten().map(Flag::Keyword),
            _ => FLAGS.iter().find(|(known, _)| known == letter).map(|(_, flag)| Flag::System(*flag)),
        };
        match flag {
            Some(flag) => flags.insert(flag),
            None => unknown.push(*letter),
        }
    }
    (flags, unknown)
}

/// The letters for a set of flags, and the keywords that have none. `keywords` grows by those that are new, up to
/// [`LETTERS`].
pub fn letters(flags: &FlagSet, keywords: &mut Vec<Keyword>) -> (String, Vec<Keyword>) {
    let mut letters: Vec<u8> = FLAGS.iter().filter(|(_, flag)| flags.has(*flag)).map(|(letter, _)| *letter).collect();
    let mut without = Vec::new();
    for keyword in flags.keywords() {
        let same = |known: &Keyword| known.as_str() == keyword.as_str();
        match keywords.iter().position(same) {
            Some(at) => letters.push(b'a' + at as u8),
            None if keywords.len() < LETTERS => {
                letters.push(b'a' + keywords.len() as u8);
                keywords.push(keyword.clone());
            }
            None => without.push(keyword.clone()),
        }
    }
    letters.sort_unstable();
    (String::from_utf8_lossy(&letters).into_owned(), without)
}

/// The head of `dovecot-uidlist`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UidList {
    pub uid_validity: u32,
    pub uid_next: u32,
}

impl UidList {
    /// Reads the first line of the list in its versions 1 and 3; `None`: it is something else.
    pub fn read_head(line: &[u8]) -> Option<UidList> {
        let mut header = line.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
        let mut list = UidList::default();
        match header.next()? {
            b"1" => {
                list.uid_validity = number(header.next()?)?;
                list.uid_next = number(header.next()?)?;
            }
            b"3" => {
                for word in header {
                    match word.split_first()? {
                        (b'V', value) => list.uid_validity = number(value)?,
                        (b'N', value) => list.uid_next = number(value)?,
                        // The mailbox's GUID, and what later versions may add.
                        _ => {}
                    }
                }
            }
            _ => return None,
        }
        (list.uid_validity > 0).then_some(list)
    }

    /// A UID that was given is never the next, whatever the head says.
    pub fn note(&mut self, uid: u32) {
        self.uid_next = self.uid_next.max(uid.saturating_add(1));
    }
}

/// Another line of `dovecot-uidlist`: a message's UID, and its file's name without letters.
pub fn listed(line: &[u8]) -> Option<(u32, &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    let (uid, rest) = (number(&line[..space])?, &line[space + 1..]);
    // Version 3 has more about a message in between, and a colon before the name.
    let name = match memchr::memchr(b':', rest) {
        Some(colon) if colon == 0 || rest[colon - 1] == b' ' => &rest[colon + 1..],
        _ => rest,
    };
    let base = split(name).0;
    (uid > 0 && !base.is_empty() && !base.contains(&0)).then_some((uid, base))
}

/// `dovecot-keywords`: by letter, and the words that are no keywords of IMAP.
pub fn keywords(octets: &[u8]) -> (Vec<Option<Keyword>>, Vec<String>) {
    let (mut keywords, mut odd) = (Vec::new(), Vec::new());
    for line in octets.split(|octet| *octet == b'\n') {
        let line = String::from_utf8_lossy(line);
        let Some((at, word)) = line.trim_end_matches('\r').split_once(' ') else { continue };
        let Some(at) = at.parse().ok().filter(|at: &usize| *at < LETTERS) else { continue };
        if keywords.len() <= at {
            keywords.resize(at + 1, None);
        }
        keywords[at] = Keyword::new(word);
        if keywords[at].is_none() {
            odd.push(word.to_owned());
        }
    }
    (keywords, odd)
}

/// `subscriptions`: each name as its levels. Version 1 has the server's separator in the names, version 2 a TAB.
pub fn subscriptions(octets: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let is_second = octets.starts_with(b"V\t2\n");
    let lines = octets.split(|octet| *octet == b'\n').skip(usize::from(is_second)).filter(|line| !line.is_empty());
    let levels = |line: &[u8]| -> Vec<Vec<u8>> {
        let is_separator = |octet: &u8| if is_second { *octet == b'\t' } else { matches!(octet, b'.' | b'/') };
        line.split(is_separator).map(<[u8]>::to_vec).collect()
    };
    lines.map(levels).collect()
}

/// What an export writes of a message that Maildir has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// The octets are to be taken as they are, whatever their line ends.
    pub is_raw: bool,
    pub date: Option<DateTime>,
    pub keywords: Vec<Keyword>,
}

impl Extra {
    /// A line of `pillarbox-messages`.
    pub fn write(&self, base: &str) -> String {
        let form = if self.is_raw { "raw" } else { "text" };
        let (seconds, zone) = self.date.map_or(("-".to_owned(), 0), |d| (d.unix_seconds.to_string(), d.zone_minutes));
        let words: String = self.keywords.iter().map(|keyword| format!(" {keyword}")).collect();
        format!("{base} {form} {seconds} {zone}{words}\n")
    }

    /// A line of `pillarbox-messages`, with the file's name without its letters.
    pub fn read_line(line: &[u8]) -> Option<(Vec<u8>, Extra)> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let base = words.next()?.as_bytes().to_vec();
        let is_raw = match words.next()? {
            "raw" => true,
            "text" => false,
            _ => return None,
        };
        let (seconds, zone) = (words.next()?.parse().ok(), words.next()?.parse().ok()?);
        let date = seconds.map(|unix_seconds| DateTime { unix_seconds, zone_minutes: zone });
        Some((base, Extra { is_raw, date, keywords: words.filter_map(Keyword::new).collect() }))
    }
}

fn number(octets: &[u8]) -> Option<u32> {
    std::str::from_utf8(octets).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(word: &str) -> Keyword {
        Keyword::new(word).expect("a keyword")
    }

    #[test]
    fn letters_and_flags_are_the_same_both_ways() {
        let known = vec![Some(keyword("work")), None];
        let (set, unknown) = flags(b"DFPRSTab9", &known);
        assert_eq!((set.bits(), unknown.as_slice()), (31, &b"b9"[..]));
        assert_eq!(set.keywords(), [keyword("$Forwarded"), keyword("work")]);
        let mut table = vec![keyword("work")];
        let (written, without) = letters(&set, &mut table);
        assert_eq!((written.as_str(), without.len(), table.len()), ("DFRSTab", 0, 2));
        let mut full: Vec<Keyword> = (0..LETTERS).map(|n| keyword(&format!("k{n}"))).collect();
        assert_eq!(letters(&set, &mut full), ("DFRST".to_owned(), set.keywords().to_vec()));
    }

    /// The head, with all UIDs noted, and the lines.
    fn read(octets: &[u8]) -> Option<(UidList, Vec<(u32, String)>)> {
        let mut lines = octets.split(|octet| *octet == b'\n');
        let mut head = UidList::read_head(lines.next()?)?;
        let lines: Vec<_> =
            lines.filter_map(listed).map(|(uid, base)| (uid, String::from_utf8_lossy(base).into())).collect();
        lines.iter().for_each(|(uid, _)| head.note(*uid));
        Some((head, lines))
    }

    #[test]
    fn both_versions_of_the_uid_list_are_read() {
        let third = b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n25017 W2481 :1276533073.M242911P3632.kurkku:2,F\nnonsense\n";
        let list = read(third).expect("a list");
        assert_eq!((list.0.uid_validity, list.0.uid_next), (1_275_660_208, 25_022));
        assert_eq!(
            list.1,
            [
                (25_006, "1276528487.M364837P9451.kurkku,S=1355,W=1394".into()),
                (25_017, "1276533073.M242911P3632.kurkku".into())
            ]
        );
        let first = read(b"1 7 9\n3 a.b\n12 c.d:2,S\n0 zero\n5 n\0l\n").expect("a list");
        assert_eq!((first.0.uid_validity, first.0.uid_next), (7, 13), "a UID that was given is never the next");
        assert_eq!(first.1, [(3, "a.b".into()), (12, "c.d".into())]);
        for odd in [&b""[..], b"2 7 9\n", b"3 N5\n", b"3 V0 N5\n", b"1 x y\n"] {
            assert_eq!(read(odd), None);
        }
    }

    #[test]
    fn keywords_and_subscriptions_are_read() {
        let (table, odd) = keywords(b"0 $Junk\n2 NonJunk\nx y\n99 z\n3 no(good\n");
        assert_eq!(table, [Some(keyword("$Junk")), None, Some(keyword("NonJunk")), None]);
        assert_eq!(odd, ["no(good"]);
        let levels = |text: &[u8]| -> Vec<String> {
            subscriptions(text).iter().map(|levels| String::from_utf8_lossy(&levels.join(&b'|')).into_owned()).collect()
        };
        assert_eq!(levels(b"INBOX\nA.B\n"), ["INBOX", "A|B"]);
        assert_eq!(levels(b"V\t2\n\nINBOX\nA\tB.C\n"), ["INBOX", "A|B.C"]);
    }

    #[test]
    fn what_maildir_has_no_place_for_is_read_back() {
        let date = Some(DateTime { unix_seconds: -5, zone_minutes: -90 });
        for extra in [
            Extra { is_raw: true, date, keywords: vec![keyword("a"), keyword("b")] },
            Extra { is_raw: false, date: None, keywords: vec![] },
        ] {
            let line = extra.write("1.U2.x");
            assert_eq!(Extra::read_line(line.trim_end().as_bytes()), Some((b"1.U2.x".to_vec(), extra)));
        }
    }
}
