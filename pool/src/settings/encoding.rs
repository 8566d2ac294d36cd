//! What servers call character sets.

/// The names a server reports.
const NAMES: [&str; 42] = [
    "BIG5",
    "EUC_CN",
    "EUC_JIS_2004",
    "EUC_JP",
    "EUC_KR",
    "EUC_TW",
    "GB18030",
    "GBK",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "JOHAB",
    "KOI8R",
    "KOI8U",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "MULE_INTERNAL",
    "SHIFT_JIS_2004",
    "SJIS",
    "SQL_ASCII",
    "UHC",
    "UTF8",
    "WIN866",
    "WIN874",
    "WIN1250",
    "WIN1251",
    "WIN1252",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1256",
    "WIN1257",
    "WIN1258",
];

/// Other names of them, in small letters and figures alone.
const ALIASES: [(&str, &str); 29] = [
    ("abc", "WIN1258"),
    ("alt", "WIN866"),
    ("koi8", "KOI8R"),
    ("mskanji", "SJIS"),
    ("shiftjis", "SJIS"),
    ("tcvn", "WIN1258"),
    ("tcvn5712", "WIN1258"),
    ("unicode", "UTF8"),
    ("vscii", "WIN1258"),
    ("win", "WIN1251"),
    ("win932", "SJIS"),
    ("win936", "GBK"),
    ("win949", "UHC"),
    ("win950", "BIG5"),
    ("windows932", "SJIS"),
    ("windows936", "GBK"),
    ("windows949", "UHC"),
    ("windows950", "BIG5"),
    ("iso88591", "LATIN1"),
    ("iso88592", "LATIN2"),
    ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"),
    ("iso88599", "LATIN5"),
    ("iso885910", "LATIN6"),
    ("iso885913", "LATIN7"),
    ("iso885914", "LATIN8"),
    ("iso885915", "LATIN9"),
    ("iso885916", "LATIN10"),
    ("windows1251", "WIN1251"),
];

/// What a server would report of a `client_encoding` like this. `None`: no server knows it.
pub(super) fn canonical(name: &str) -> Option<&'static str> {
    let plain = |name: &str| -> String {
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let asked = plain(name);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == asked).map(|(_, name)| *name);
    let windows = asked.strip_prefix("windows").map(|number| format!("win{number}"));
    let asked = windows.unwrap_or(asked);
    alias.or_else(|| NAMES.into_iter().find(|name| plain(name) == asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_servers_have_it() {
        for (asked, wanted) in [
            ("utf8", Some("UTF8")),
            ("UTF-8", Some("UTF8")),
            ("Unicode", Some("UTF8")),
            ("euc-jp", Some("EUC_JP")),
            ("eucjp", Some("EUC_JP")),
            ("iso-8859-1", Some("LATIN1")),
            ("iso_8859_5", Some("ISO_8859_5")),
            ("windows-1252", Some("WIN1252")),
            ("WIN1251", Some("WIN1251")),
            ("sql_ascii", Some("SQL_ASCII")),
            ("klingon", None),
            ("", None),
        ] {
            assert_eq!(canonical(asked), wanted, "{asked}");
        }
        assert!(NAMES.into_iter().all(|name| canonical(name) == Some(name)));
    }
}
