//! The façade: what compiles, what is refused and where, and what conditions say.

use serde_json::json;

use super::*;

fn compile(text: &str) -> Result<Expression, CompileError> {
    Expression::compile(text, &["request"])
}

fn request() -> Value {
    json!({
        "user": "alice", "uid": "", "groups": ["dev", "system:authenticated"],
        "extra": {"example.org/site": ["berlin"]},
        "resourceAttributes": {"verb": "get", "group": "", "resource": "pods", "namespace": "kube-system", "name": ""},
        "count": 3, "ratio": 0.5, "big": u64::MAX,
    })
}

fn holds(text: &str) -> Result<bool, EvaluationError> {
    compile(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).evaluate(&[("request", &request())])
}

#[test]
fn conditions_say_what_kubernetes_says_they_do() {
    for (text, expected) in [
        ("true", true),
        ("has(request.resourceAttributes) && request.resourceAttributes.verb == 'get'", true),
        ("has(request.nonResourceAttributes)", false),
        ("!has(request.nonResourceAttributes) || request.nonResourceAttributes.path == '/x'", true),
        ("has(request.resourceAttributes.name)", true),
        ("request.resourceAttributes.name == ''", true),
        ("has(request.resourceAttributes.subresource)", false),
        ("request.user == 'alice'", true),
        ("request.user in ['alice', 'bob']", true),
        ("'dev' in request.groups", true),
        ("'Dev' in request.groups", false),
        ("request.extra['example.org/site'][0] == 'berlin'", true),
        ("'example.org/site' in request.extra", true),
        ("request.resourceAttributes.namespace.startsWith('kube-')", true),
        ("request.resourceAttributes.namespace.endsWith('-system')", true),
        ("request.user.contains('lic')", true),
        ("request.user.matches('^a.*e$')", true),
        ("matches(request.user, '^b')", false),
        ("request.groups.exists(g, g.startsWith('system:'))", true),
        ("request.groups.all(g, g.startsWith('system:'))", false),
        ("request.groups.exists_one(g, g == 'dev')", true),
        ("request.groups.filter(g, g != 'dev').size() == 1", true),
        ("request.groups.map(g, g + '!')[0] == 'dev!'", true),
        ("size(request.groups) == 2 && request.user.size() == 5", true),
        ("request.count + 1 == 4 && request.count > 2 && -request.count < 0", true),
        ("request.ratio < 1.0 && request.count % 2 == 1", true),
        ("string(request.count) == '3' && int('3') == request.count && double('0.5') == request.ratio", true),
        ("request.user == 'bob' ? false : true", true),
        ("{'alice': true}[request.user]", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn an_error_counts_unless_the_other_side_decides() {
    assert!(matches!(holds("request.nonResourceAttributes.path == '/x'"), Err(EvaluationError::Failed(_))));
    assert!(matches!(holds("request.user > 1"), Err(EvaluationError::Failed(_))));
    assert_eq!(holds("request.user == 'alice' || request.none == 1"), Ok(true));
    assert_eq!(holds("request.none == 1 || request.user == 'alice'"), Ok(true));
    assert_eq!(holds("request.none == 1 && request.user == 'bob'"), Ok(false));
    assert_eq!(holds("request.user"), Err(EvaluationError::NotABoolean("a string")));
    assert_eq!(holds("request.groups"), Err(EvaluationError::NotABoolean("a list")));
    let missing = compile("request.user == 'alice'").unwrap().evaluate(&[]);
    assert!(matches!(missing, Err(EvaluationError::Failed(_))));
}

#[test]
fn what_there_is_not_is_refused_in_its_place() {
    for (text, offset, message, help) in [
        ("requst.user == ''", 0, "unknown variable `requst`", Some("did you mean `request`?")),
        ("true && subject == ''", 8, "unknown variable `subject`", None),
        (
            "request.user.startswith('a')",
            13,
            "unknown function `startswith`",
            Some("did you mean `startsWith`?"),
        ),
        ("ip('1.2.3.4')", 0, "unknown function `ip`", None),
        ("request.groups.exists(g, h == 'x')", 25, "unknown variable `h`", None),
        ("request.groups.exists(g, true) && g == ''", 34, "unknown variable `g`", None),
        (
            "startsWith(request.user, 'a')",
            0,
            "`startsWith` is not called in this way",
            Some("write `x.startsWith(y)`"),
        ),
        (
            "request.user.matches(request.user)",
            28,
            "the regular expression of `matches` must be written out, as a string",
            None,
        ),
        ("request.user.matches('(')", 21, "this is no regular expression: unclosed group", None),
    ] {
        let error = compile(text).unwrap_err();
        assert_eq!(error.message, message, "{text}");
        assert_eq!(error.help.as_deref(), help, "{text}");
        assert_eq!(error.offset, offset, "{text}");
    }
}

#[test]
fn what_is_not_the_language_is_refused() {
    for text in [
        "",
        " ",
        "request.",
        "request.user = 'a'",
        "a b",
        "request.user == 'x",
        "Thing{a: 1}",
        "@result",
        "1 +",
    ] {
        assert!(compile(text).is_err(), "{text}");
    }
    let error = compile("true &&\n  )").unwrap_err();
    assert_eq!(error.offset, 10, "{error:?}");
}

#[test]
fn a_short_text_never_overflows_the_stack() {
    let longest = |part: &str, most: usize| part.repeat(most / part.len());
    for text in [
        longest("1+", 4_000) + "1",
        longest("1+", MAX_SOURCE_BYTES - 1) + "1",
        longest("(", 4_000),
        longest("(", MAX_SOURCE_BYTES),
        longest("(", 1_000) + "1" + &longest(")", 1_000),
        longest("[", MAX_SOURCE_BYTES),
        longest("!", MAX_SOURCE_BYTES - 4) + "true",
        longest("-", MAX_SOURCE_BYTES - 1) + "1",
        "a".to_owned() + &longest(".a", MAX_SOURCE_BYTES - 2),
        longest("true?", MAX_SOURCE_BYTES),
        longest("true?1:", MAX_SOURCE_BYTES - 1) + "1",
        longest("a[", MAX_SOURCE_BYTES),
        longest("size(", MAX_SOURCE_BYTES),
        longest("{1:", MAX_SOURCE_BYTES),
    ] {
        // What it says is not the point: that it comes back is.
        let _ = compile(&text);
    }
    let deep = compile(&(longest("1+", 200) + "1 == 1")).unwrap_err();
    assert!(deep.message.starts_with("the expression is nested deeper than 32 levels"), "{deep:?}");
    let deepest = (1..MAX_DEPTH)
        .rev()
        .map(|terms| longest("1+", 2 * terms) + "1 > 0")
        .find(|text| compile(text).is_ok());
    let deepest = deepest.expect("some depth is allowed");
    assert!(deepest.len() > 50, "{deepest}");
    assert_eq!(holds(&deepest), Ok(true));
    let wide = vec!["request.user == 'alice'"; 60].join(" || ");
    assert_eq!(holds(&wide), Ok(true));
}

#[test]
fn what_could_take_long_is_refused() {
    let nested = "request.groups.all(a, request.groups.all(b, request.groups.all(c, a == b && b == c)))";
    assert!(compile(nested).unwrap_err().message.contains("nested deeper than 2"));
    let dear = "request.groups.all(a, request.groups.all(b, a.matches('x') && b.matches('y')))";
    assert!(compile(dear).unwrap_err().message.starts_with("the expression would cost"));
    let fine = compile("request.groups.all(a, request.groups.all(b, a != b || a == b))").unwrap();
    assert_eq!(fine.evaluate(&[("request", &request())]), Ok(true));
    let growing = format!("request.groups{}.size() > 0", ".map(x, x + x)".repeat(9));
    assert!(compile(&growing).unwrap_err().message.contains("put together with `+` more than 8 times"));
    assert!(compile("[request.groups].map(x, x + x).exists(x, x.exists(y, x.exists(z, y == z)))").is_err());
    let many = json!({"groups": vec!["g"; 1_000]});
    let error = fine.evaluate(&[("request", &many)]).unwrap_err();
    assert!(matches!(error, EvaluationError::TooExpensive { length: 1_000, .. }), "{error}");
    assert!(compile(&format!("request.user.matches('{}')", "(a{100}){100}".repeat(2))).is_err());
}

#[test]
fn the_fields_of_variables_are_told() {
    let text = "has(request.a.b) && request.c.exists(x, x.d == request.e) && request.f['g'].h.exists(request, request.i)";
    let expression = compile(text).unwrap();
    let mut fields: Vec<&str> = expression.paths().iter().map(|path| &*path.fields).collect();
    fields.sort_unstable();
    fields.dedup();
    assert_eq!(fields, ["a", "a.b", "c", "e", "f"]);
    assert!(expression.paths().iter().all(|path| path.variable == "request"));
}

/// Pieces that expressions are made of, and some that they are not.
const PIECES: &[&str] = &[
    "request",
    "request.user",
    "request.groups",
    "request.count",
    "request.big",
    "request.ratio",
    "request.extra",
    "request.none",
    "x",
    "true",
    "false",
    "null",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "1u",
    "'a'",
    "'ö'",
    "b'a'",
    "[1, 'a']",
    "{'a': 1}",
    "[]",
    "{}",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " == ",
    " != ",
    " < ",
    " >= ",
    " && ",
    " || ",
    " in ",
    " ? ",
    " : ",
    "!",
    "-",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ", ",
    "size(",
    ".size()",
    ".contains('a')",
    ".startsWith(",
    ".matches('a+')",
    ".exists(x, ",
    ".all(x, ",
    ".map(x, ",
    ".filter(x, ",
    "has(",
    "int(",
    "string(",
    "double(",
    "\n",
    "\"",
    "'",
    "\\",
    "\u{0}",
    "@",
    "`",
    "?.",
    "1e999",
];

/// Expressions that are well-formed, and mostly ill-typed.
fn well_formed() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;

    let leaves = [
        "request",
        "request.user",
        "request.groups",
        "request.count",
        "request.big",
        "request.ratio",
        "request.extra",
        "request.none",
        "x",
        "true",
        "null",
        "0",
        "9223372036854775807",
        "(-9223372036854775807 - 1)",
        "1.5",
        "1u",
        "'ö'",
        "'12'",
        "b'a'",
        "[]",
        "{}",
    ];
    let operators = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"];
    let methods = ["size()", "contains('a')", "startsWith('a')", "matches('a+')", "user", "groups", "a"];
    let macros = ["exists", "all", "exists_one", "map", "filter"];
    let functions = ["size", "int", "string", "double", "!", "-"];
    let select = |list: &'static [&'static str]| proptest::sample::select(list);
    let leak = |list: Vec<&'static str>| &*Vec::leak(list);
    let [leaves, operators, methods, macros, functions] =
        [leaves.to_vec(), operators.to_vec(), methods.to_vec(), macros.to_vec(), functions.to_vec()]
            .map(leak);
    select(leaves).prop_map(str::to_owned).prop_recursive(5, 40, 3, move |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            (pair.clone(), select(operators)).prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            (inner.clone(), select(methods)).prop_map(|(a, method)| format!("({a}).{method}")),
            (inner.clone(), select(functions)).prop_map(|(a, function)| format!("{function}({a})")),
            (pair.clone(), select(macros)).prop_map(|((a, b), name)| format!("({a}).{name}(x, {b})")),
            (pair.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            pair.clone().prop_map(|(a, b)| format!("({a})[{b}]")),
            pair.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            pair.prop_map(|(a, b)| format!("{{{a}: {b}}}")),
        ]
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_written_is_an_expression_or_an_error(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..24),
    ) {
        let text = pieces.concat();
        match compile(&text) {
            // What it says is not the point: that it comes back is.
            Ok(expression) => drop(expression.evaluate(&[("request", &request())])),
            Err(error) => proptest::prop_assert!(error.offset <= text.chars().count(), "{text:?}: {error:?}"),
        }
    }

    #[test]
    fn whatever_is_compiled_has_a_value_or_an_error(text in well_formed()) {
        if let Ok(expression) = Expression::compile(&text, &["request", "x"]) {
            let value = expression.evaluate(&[("request", &request()), ("x", &json!(7))]);
            let failed = EvaluationError::Failed("the interpreter failed".to_owned());
            proptest::prop_assert_ne!(value, Err(failed), "{}", text);
        }
    }
}
