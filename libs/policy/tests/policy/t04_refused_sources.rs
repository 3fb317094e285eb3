//! Sources that are not compiled.

use crate::t03_site_rules::site;

#[test]
fn t04_refusals_name_file_line_and_function() {
    let cases = [
        (
            "deny contains \"x\" if count(numbers.range(1, 10)) > 1",
            "site.rego:3: the function numbers.range",
        ),
        ("deny contains \"x\" if count(numbers . range(1, 10)) > 1", "site.rego:3: "),
        ("deny contains \"x\" if count(numbers[\"range\"](1, 10)) > 1", "site.rego:3: "),
        ("deny contains \"x\" if count(5) > 1 with count as numbers.range", "`with`"),
        ("deny contains \"x\" if net.cidr_expand(\"10.0.0.0/8\")", "net.cidr_expand"),
        ("deny contains \"x\" if bits.lsh(1, 100000000) > 1", "bits.lsh"),
        ("deny contains \"x\" if http.send({})", "http.send"),
        ("deny contains \"x\" if time.now_ns() > 1", "time.now_ns"),
        ("deny contains \"x\" if nothing(1)", "the function nothing is neither"),
        (
            "f(x) := f(x + 1)\ndeny contains \"x\" if f(1) > 1",
            "site.rego:3: the function f ends in a call of itself",
        ),
        ("f(x) := g(x)\ng(x) := f(x)\ndeny contains \"x\" if f(1) > 1", "ends in a call of itself"),
        ("deny contains \"x\" if {\n\tinput.operation ==\n}", "site.rego:"),
        ("deny := \"x\"", "`deny` must be a set"),
        ("denied contains \"x\" if true", ""),
    ];
    for (rules, want) in cases {
        let error = site(rules).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(want), "{rules}: {error}");
    }
}

#[test]
fn t04_words_in_comments_and_strings_are_not_calls() {
    site("# numbers.range(1, 2) with nothing\ndeny contains \"numbers.range(1) with x\" if input.operation == `with`").unwrap();
}

#[test]
fn t04_ordinary_rules_are_accepted() {
    site(
        r#"
night if {
    hour := substring(input.time, 11, 2)
    not hour in hours_of_day
}
hours_of_day := {"08", "09", "10", "11"}
deny contains {"reason": msg} if {
    night
    some t in input.targets
    input.operation in ({"exec"} | {"diag"})
    every word in input.command { not startswith(word, "-") }
    msg := sprintf("%s: only by day on %s", [upper(input.operation), t.node])
}
deny contains "regulated" if {
    some name, rules in input.vcluster_policies
    rules.regulated
    helper(name)
}
helper(name) if regex.match(`^x`, name)
"#,
    )
    .unwrap();
}
