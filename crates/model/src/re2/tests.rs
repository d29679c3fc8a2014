//! RE2's syntax and meaning, the shapes that need no automaton, and expansion of templates.

use super::*;

fn re2(pattern: &str) -> Re2 {
    Re2::new_anchored(pattern).unwrap_or_else(|why| panic!("{why:.1000}"))
}

#[track_caller]
fn check(pattern: &str, matches: &[&str], others: &[&str]) {
    let regex = re2(pattern);
    for value in matches {
        assert!(regex.is_match(value), "{pattern} should match {value:?}");
    }
    for value in others {
        assert!(!regex.is_match(value), "{pattern} should not match {value:?}");
    }
    matches.iter().chain(others).for_each(|value| as_the_automaton(&regex, value));
}

/// Whatever a pattern means, an automaton finds the same, and the same groups.
#[track_caller]
fn as_the_automaton(regex: &Re2, value: &str) {
    let pattern = regex.pattern();
    let automaton = compile(&translate::translate(pattern).unwrap().pattern).unwrap();
    let mut captures = automaton.create_captures();
    automaton.captures(value, &mut captures);
    let group = |index| captures.get_group(index).map(|group| (group.start, group.end));
    let expected: Option<Groups> =
        captures.is_match().then(|| (0..captures.group_len()).map(group).collect());
    assert_eq!(regex.is_match(value), expected.is_some(), "{pattern} {value:?}");
    // Groups at the end that took no part may be left out.
    let whole =
        |groups: Groups| (0..captures.group_len()).map(|at| groups.get(at).copied().flatten()).collect();
    assert_eq!(regex.groups(value).map(whole), expected, "{pattern} {value:?}");
}

#[track_caller]
fn refused(pattern: &str, why: &str) {
    assert_eq!(Re2::new_anchored(pattern).err().as_deref(), Some(why), "{pattern}");
}

#[test]
fn patterns_match_whole_values_and_dots_match_newlines() {
    check("b", &["b"], &["ab", "bc", ""]);
    check("a|b", &["a", "b"], &["ab", "a|b"]);
    check("a.c", &["abc", "a\nc", "aéc"], &["ac", "abbc"]);
    check("(?-s).", &["a"], &["\n"]);
    check("", &[""], &["a"]);
    check("a|", &["a", ""], &["|"]);
    check(".*", &["", "a\nb"], &[]);
    check(".+", &["a", "\n"], &[""]);
    check("^a$", &["a"], &["^a$"]);
    check("a$|b", &["a", "b"], &["ab"]);
    check("(a$)b", &[], &["ab", "a"]);
    check("a^b", &[], &["ab"]);
    check("(?m)a$\n^b", &["a\nb"], &["ab"]);
    check(r"\Aa\z", &["a"], &["Aaz"]);
}

#[test]
fn perl_classes_and_word_boundaries_are_ascii() {
    check(r"\d+", &["019"], &["٣", ""]);
    check(r"\D", &["a", "٣"], &["1"]);
    check(r"\w+", &["aZ_9"], &["é", "ſ"]);
    check(r"\W", &["é", "-"], &["a", "_"]);
    check(r"\s", &[" ", "\t", "\n", "\x0C", "\r"], &["\u{A0}", "\x0B"]);
    check(r"[\d\-a]+", &["1-a"], &["b"]);
    check(r"[^\D]", &["7"], &["a"]);
    check(r"[\S]", &["a", "\x0B"], &[" "]);
    check(r".*\bfoo\b.*", &["foo", "a foo.", "éfoo"], &["afoo", "foo_"]);
    check(r"é\Bé", &["éé"], &["é"]);
    check(r"(?i)\w", &["K", "ſ"], &["é"]);
    check(r"(?i)\W", &["é"], &["K", "ſ", "k"]);
    check(r"(?i)a\D\S\W", &["Axy-", "a٣éé"], &["a1x-", "a- -", "aaak"]);
    check(r"(?i)[\W\D]", &["é", "k"], &["7"]);
}

#[test]
fn brackets_and_braces_are_read_as_go_reads_them() {
    check("[[]", &["["], &["]"]);
    check("[]a]", &["]", "a"], &["["]);
    check("[^]a]", &["b"], &["]", "a"]);
    check("[a&&b]", &["a", "&", "b"], &["c"]);
    check("[+--b]", &["+", ",", "-", "b"], &["a"]);
    check("[a~~b]", &["~"], &["c"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[-a]", &["a", "-"], &["b"]);
    check("[a-c-e]", &["b", "-", "e"], &["d"]);
    check("[[:alpha:]_]+", &["aZ_"], &["1", "é"]);
    check("[[:^digit:]]", &["a"], &["1"]);
    check("[[:word:]]", &["_"], &["-"]);
    check("[[:x]", &["[", ":", "x"], &["]"]);
    check("a{,2}", &["a{,2}"], &["aa"]);
    check("a{2", &["a{2"], &["aa"]);
    check("{", &["{"], &[]);
    check("a{01}", &["a{01}"], &["a"]);
    check("a{2}", &["aa"], &["a", "aaa"]);
    check("a{1,2}?", &["a", "aa"], &["", "aaa"]);
    check("a{0}b", &["b"], &["ab"]);
    check("]}", &["]}"], &[]);
    check("#  a", &["#  a"], &[]);
    check("[a#-% ]+", &["a#$% "], &["b"]);
}

#[test]
fn escapes_are_read_as_go_reads_them() {
    check(r"\Qa.b\E.", &["a.bc"], &["axbc"]);
    check(r"\Qa|b", &["a|b"], &["a"]);
    check(r"\Q\E", &[""], &["a"]);
    check(r"\Qab\E+", &["abb"], &["abab"]);
    check(r"\x41\x{e9}\101\0", &["AéA\0"], &[]);
    check(r"\a\f\n\r\t\v", &["\x07\x0C\n\r\t\x0B"], &[]);
    check(r"\.\_\-\/\@\ ", &["._-/@ "], &[]);
    check(r"\x{D800}", &[], &["a"]);
    check(r"[\x{D700}-\x{D900}]", &["\u{D7FF}"], &["\u{E000}"]);
    check(r"[\]\\^]", &["]", "\\", "^"], &["a"]);
}

#[test]
fn unicode_classes_are_categories_and_scripts() {
    check(r"\pL+", &["aé"], &["1"]);
    check(r"\PL", &["1"], &["a"]);
    check(r"\p{Greek}", &["α"], &["a"]);
    check(r"\p{^Greek}", &["a"], &["α"]);
    check(r"[\p{Lu}\d]+", &["A1"], &["a"]);
    check(r"\p{Any}", &["a"], &[]);
    refused(r"\p{Alphabetic}", r"error parsing regexp: invalid character class range: `\p{Alphabetic}`");
    refused(r"\p{sc=Greek}", r"error parsing regexp: invalid character class range: `\p{sc=Greek}`");
    refused(r"a\p{L", r"error parsing regexp: invalid character class range: `\p{L`");
    refused(r"\p", r"error parsing regexp: invalid character class range: `\p`");
}

#[test]
fn flags_hold_to_the_end_of_their_group() {
    check("(?i)ab", &["AB", "ab"], &["é"]);
    check("(?i:a)b", &["Ab"], &["AB"]);
    check("((?i)a)b", &["Ab"], &["AB"]);
    check("a(?i)b|c", &["aB", "C"], &["AB"]);
    check("(?i-s)a.", &["Ab"], &["A\n"]);
    check("(?i)[^a]", &["b"], &["a", "A"]);
    check("(?i)é", &["É"], &["e"]);
    check("a(?i)*", &["aaa", ""], &["A"]);
    check("(?U)a+", &["aa"], &[]);
    check("(?)a", &["a"], &[]);
}

#[test]
fn what_go_refuses_is_refused_with_its_words() {
    let go = |pattern: &str, why: &str| refused(pattern, &format!("error parsing regexp: {why}"));
    go("(", "missing closing ): `(`");
    go("(foo", "missing closing ): `(foo`");
    go("a)", "unexpected ): `a)`");
    go("[a", "missing closing ]: `[a`");
    go("x[]", "missing closing ]: `[]`");
    go("[z-a]", "invalid character class range: `z-a`");
    go("[[:foo:]]", "invalid character class range: `[:foo:]`");
    go("*", "missing argument to repetition operator: `*`");
    go("a|*", "missing argument to repetition operator: `*`");
    go("(+?)", "missing argument to repetition operator: `+?`");
    go(r"\Q\E*", "missing argument to repetition operator: `*`");
    go("a**", "invalid nested repetition operator: `**`");
    go("a*?+", "invalid nested repetition operator: `*?+`");
    go("a{2}{3}", "invalid nested repetition operator: `{2}{3}`");
    go("a{1001}", "invalid repeat count: `{1001}`");
    go("a{2,1}", "invalid repeat count: `{2,1}`");
    go("a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`");
    go("(a{100}){11}", "invalid repeat count: `{11}`");
    go("((a{10}){10}){11}", "invalid repeat count: `{11}`");
    go("(?=a)", "invalid or unsupported Perl syntax: `(?=`");
    go("(?!a)", "invalid or unsupported Perl syntax: `(?!`");
    go("(?<=a)", "invalid named capture: `(?<=a)`");
    go("(?x)a", "invalid or unsupported Perl syntax: `(?x`");
    go("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`");
    go("(?", "invalid or unsupported Perl syntax: `(?`");
    go("(?P<n", "invalid named capture: `(?P<n`");
    go("(?P<a b>c)", "invalid named capture: `(?P<a b>`");
    go("(?P<>c)", "invalid named capture: `(?P<>`");
    go("(?P=n)", "invalid or unsupported Perl syntax: `(?P`");
    go(r"(a)\1", r"invalid escape sequence: `\1`");
    go(r"\C", r"invalid escape sequence: `\C`");
    go(r"a\Z", r"invalid escape sequence: `\Z`");
    go(r"\y", r"invalid escape sequence: `\y`");
    go(r"[\b]", r"invalid escape sequence: `\b`");
    go(r"\é", r"invalid escape sequence: `\é`");
    go(r"\x{110000}", r"invalid escape sequence: `\x{110000`");
    go(r"\x4", r"invalid escape sequence: `\x4`");
    go("a\\", "trailing backslash at end of expression: ``");
}

#[test]
fn nested_counts_within_a_thousand_are_accepted() {
    for pattern in ["(a{10}){100}", "(a{0,}){1000}", "((a{1000}){0}b){1000}", "a{1000}", "(a{1000})*"] {
        re2(pattern);
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let long = "a".repeat(PATTERN_BYTES_MAX + 1);
    refused(&long, "regular expression of 1048577 bytes exceeds the limit of 1048576 bytes");
    let long = "a?".repeat(COMPLEX_BYTES_MAX / 2 + 1);
    refused(&long, "regular expression of 262146 bytes exceeds the limit of 262144 bytes");
    let wide = r"(\pL\pN){100}.*";
    refused(wide, &format!("error parsing regexp: expression too large: `{wide}`"));
    let deep = "(".repeat(10_000) + &")".repeat(10_000);
    refused(&deep, &format!("error parsing regexp: expression nests too deeply: `{deep}`"));
    let open = "(".repeat(60_000);
    refused(&open, &format!("error parsing regexp: missing closing ): `{open}`"));
}

#[test]
fn finite_patterns_are_sets() {
    let set = |pattern: &str, values: &[&str]| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        assert_eq!(re2(pattern).literal_set(), Some(&values[..]), "{pattern}");
    };
    set("a", &["a"]);
    set("", &[""]);
    set("b|a|b", &["a", "b"]);
    set("(a|b)", &["a", "b"]);
    set("(?:a|)", &["", "a"]);
    set("^(a|bc)$", &["a", "bc"]);
    set("^a$|b", &["a", "b"]);
    set("host[1-3]", &["host1", "host2", "host3"]);
    set("a(b|c)d?", &["ab", "abd", "ac", "acd"]);
    set(r"a\.b", &["a.b"]);
    set("(?i)ab", &["AB", "Ab", "aB", "ab"]);
    for pattern in ["a.*", "a+", "[a-z]{10}", r"\w\w\w", "(a$)b", "a*", "\\pL", ".", "[^a]"] {
        assert_eq!(re2(pattern).literal_set(), None, "{pattern}");
    }
}

#[test]
fn thousands_of_host_names_are_a_set() {
    let names: Vec<String> = (0..1_500).map(|n| format!("host-{n:04}:9100")).collect();
    let regex = re2(&names.join("|"));
    assert!(regex.is_match(&names[777]));
    assert!(!regex.is_match("host-9999:9100"));
    assert_eq!(regex.literal_set(), Some(&names[..]));
    assert_eq!(regex.prefix(), "host-");
}

#[test]
fn prefixes_are_known() {
    let prefix = |pattern: &str, wanted: &str| assert_eq!(re2(pattern).prefix(), wanted, "{pattern}");
    prefix("foo.*", "foo");
    prefix("^foo.+", "foo");
    prefix("foo[a-z]+", "foo");
    prefix("foo(bar|baz)", "fooba");
    prefix("foo(bar|baz).*", "fooba");
    prefix(".*foo", "");
    prefix("a|b", "");
    prefix("é1|è2", "");
    prefix("foo", "foo");
    prefix("(?i)foo.*", "");
    prefix("(foo)x*", "foo");
}

#[test]
fn patterns_around_anything_agree_with_the_automaton() {
    check("foo.*", &["foo", "foobar"], &["fo", "xfoo"]);
    check("foo.+", &["foob", "foo\n"], &["foo"]);
    check(".*foo", &["foo", "xfoo"], &["foox"]);
    check(".+foo", &["xfoo", "éfoo"], &["foo"]);
    check(".*foo.*", &["foo", "xfoox"], &["fo"]);
    check(".+foo.*", &["xfoo"], &["foo"]);
    check("aba.*aba", &["abaaba", "abaxaba"], &["aba", "ababa"]);
    check("aba.+aba", &["abaxaba"], &["abaaba", "ababa"]);
    check("^(.*)$", &["", "x"], &[]);
    check("(?-s)foo.*", &["foox"], &["foo\n"]);
    check("foo.?", &["foo", "foox"], &["fooxx"]);
    check("foo.*bar.*", &["foobar", "fooxbarx"], &["foo", "xfoobar"]);
}

#[test]
fn templates_expand_as_in_go() {
    let expand = |pattern: &str, value: &str, template: &str| re2(pattern).expand(value, template);
    let check = |template: &str, wanted: &str| {
        let got = expand(r"(?P<host>[a-z]+)-(\d+)(x)?", "node-42", template);
        assert_eq!(got.as_deref(), Some(wanted), "{template}");
    };
    check("$1", "node");
    check("${1}_$2", "node_42");
    check("$1_$2", "42");
    check("$0", "node-42");
    check("$host:${host}", "node:node");
    check("$$1", "$1");
    check("$", "$");
    check("$-", "$-");
    check("${1", "${1");
    check("${}", "${}");
    check("$3|$9|$nobody", "||");
    check("$01", "");
    check("é${2}é$2é", "é42é");
    assert_eq!(expand("a", "b", "x"), None);
    assert_eq!(expand("a|b", "b", "<$0>").as_deref(), Some("<b>"));
    assert_eq!(expand("(?P<n>a)|(?P<n>b)", "b", "$n").as_deref(), Some("b"));
    assert_eq!(expand("(.*):(.*)", "a:b:c", "$2").as_deref(), Some("c"));
    assert_eq!(expand("(.*?):(.*)", "a:b:c", "$2").as_deref(), Some("b:c"));
}

#[test]
fn noise_is_compiled_or_refused_but_never_panics() {
    const PIECES: [&str; 40] = [
        "a",
        "b",
        "é",
        ".",
        "*",
        "+",
        "?",
        "{2}",
        "{2,}",
        "{1,3}",
        "{",
        "}",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?P<n>",
        "[",
        "]",
        "[^",
        "-",
        "\\d",
        "\\W",
        "\\b",
        "\\B",
        "\\pL",
        "\\p{Lu}",
        "\\Q",
        "\\E",
        "\\x41",
        "\\",
        "|",
        "^",
        "$",
        "\\z",
        "[:alpha:]",
        "&&",
        "(?s-m:",
        "1",
        "\\0",
    ];
    let mut state = 11_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let values = ["", "a", "ab", "aab", "é", "b\n", "A1", "a-b", "[]"];
    for _ in 0..3_000 {
        let pattern: String = (0..below(9)).map(|_| PIECES[below(PIECES.len())]).collect();
        if let Ok(regex) = Re2::new_anchored(&pattern) {
            for value in values {
                as_the_automaton(&regex, value);
                if regex.is_match(value) {
                    assert!(value.starts_with(regex.prefix()), "{pattern:?} {value:?}");
                }
            }
        }
    }
}

#[test]
fn choices_of_sequences_agree_with_the_automaton() {
    const PIECES: [&str; 21] = [
        "a", "b", "ab", "é", ".", ".", ".*", ".+", ".*?", ".?", "[ab]", "[^a]", "|", "|", "|", "(", ")",
        "(?:", "a?", "\\.", "(?i)b",
    ];
    let mut below = random(5);
    let mut n_choices = 0;
    for _ in 0..6_000 {
        let pattern: String = (0..below(12)).map(|_| PIECES[below(PIECES.len())]).collect();
        let Ok(regex) = Re2::new_anchored(&pattern) else { continue };
        n_choices += usize::from(matches!(regex.compiled.shape, Shape::Branches(_)));
        for _ in 0..6 {
            let value: String = (0..below(6)).map(|_| ["a", "b", "é", ".", "\n", "B"][below(6)]).collect();
            as_the_automaton(&regex, &value);
            if regex.is_match(&value) {
                assert!(value.starts_with(regex.prefix()), "{pattern:?} {value:?}");
            }
        }
    }
    assert!(n_choices > 1_000, "{n_choices}");
}

#[test]
fn many_texts_within_anything_are_found_as_by_the_automaton() {
    let mut below = random(6);
    for _ in 0..20 {
        let branches = (0..200).map(|_| {
            let text: String = (0..1 + below(4)).map(|_| ["a", "b", "c", "é"][below(4)]).collect();
            let form = ["T", ".*T", ".*T.*", "T.*", ".T", "T..", "(.*)T.+", ".*.T.*"][below(8)];
            form.replace('T', &text)
        });
        let regex = re2(&branches.collect::<Vec<_>>().join("|"));
        for _ in 0..30 {
            let value: String = (0..below(7)).map(|_| ["a", "b", "c", "é", "d"][below(5)]).collect();
            as_the_automaton(&regex, &value);
        }
    }
}

/// Numbers below what is asked, out of a seed.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |n| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    }
}

#[test]
fn ten_thousand_branches_of_any_form_are_no_work() {
    let host = |n: usize| format!("host-{n:05}.example.internal:9100");
    let ip = |n: usize| format!("10.{}.{}.{}:9100", n % 7, n / 250, n % 250);
    type Form = (&'static str, fn(&str) -> String);
    let forms: [Form; 7] = [
        ("escaped", |name| escape(name)),
        ("as it is", |name| name.to_owned()),
        ("prefixes", |name| format!("{}.*", escape(name))),
        ("prefixes as they are", |name| format!("{}.+", &name[..name.len() - 2])),
        ("suffixes", |name| format!(".*{name}")),
        ("within", |name| format!(".*{}.*", escape(name))),
        ("without case", |name| format!("(?i:{})", escape(name))),
    ];
    let names: [&dyn Fn(usize) -> String; 2] = [&host, &ip];
    for (names, (form, write)) in
        names.into_iter().flat_map(|names| forms.iter().map(move |form| (names, form)))
    {
        let begun = std::time::Instant::now();
        // What needs to be parsed may be shorter only.
        let n_branches = if *form == "without case" { 5_000 } else { 10_000 };
        let pattern = (0..n_branches).map(|n| write(&names(n))).collect::<Vec<_>>().join("|");
        let regex = re2(&format!("({pattern})"));
        let compiled = begun.elapsed();
        let n_matches = (0..20_000).filter(|n| regex.is_match(&names(*n))).count();
        let searched = begun.elapsed() - compiled;
        assert!(n_matches >= n_branches, "{form}: {n_matches}");
        assert_eq!(regex.expand(&names(77), "$1").as_deref(), Some(names(77).as_str()), "{form}");
        println!(
            "{form}: compiled in {compiled:?}, 20,000 values in {searched:?}, {} bytes",
            regex.memory_bytes()
        );
        // Far above what it takes, far below what trying every branch would.
        assert!(
            compiled.as_millis() < 3_000 && searched.as_millis() < 1_500,
            "{form}: {compiled:?} {searched:?}"
        );
        assert!(!regex.is_match("é") && !regex.is_match(""), "{form}");
    }
}

#[test]
fn an_escaped_text_matches_itself_only() {
    let ascii: String = (' '..='~').collect();
    for text in [ascii.as_str(), "a.b", "a|b", "\\E", "^$", "é-ü", "[a]{2}(b)", "#&-~", " \t\n"] {
        let pattern = Re2::new_anchored(&escape(text)).unwrap();
        assert!(pattern.is_match(text), "{text:?}");
        assert_eq!(pattern.literal_set(), Some(&[text.to_owned()][..]), "{text:?}");
    }
    assert!(!Re2::new_anchored(&escape("a.b")).unwrap().is_match("axb"));
}
