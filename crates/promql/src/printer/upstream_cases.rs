//! Cases of Prometheus' own printer and prettifier tests.
//!
//! Source: prometheus v3.16 `promql/parser/printer_test.go` and `prettier_test.go` (Apache-2.0, The
//! Prometheus Authors). Every line of the first table was confirmed with the program itself.

/// Expression and how it is printed.
pub(super) const PRINTED: &[(&str, &str)] = &[
    (r#"sum by() (task:errors:rate10s{job="s"})"#, r#"sum(task:errors:rate10s{job="s"})"#),
    (r#"sum by(code) (task:errors:rate10s{job="s"})"#, r#"sum by (code) (task:errors:rate10s{job="s"})"#),
    (r#"sum without() (task:errors:rate10s{job="s"})"#, r#"sum without () (task:errors:rate10s{job="s"})"#),
    (
        r#"sum without(instance) (task:errors:rate10s{job="s"})"#,
        r#"sum without (instance) (task:errors:rate10s{job="s"})"#,
    ),
    (
        r#"sum by("foo.bar") (task:errors:rate10s{job="s"})"#,
        r#"sum by ("foo.bar") (task:errors:rate10s{job="s"})"#,
    ),
    (
        r#"sum without("foo.bar") (task:errors:rate10s{job="s"})"#,
        r#"sum without ("foo.bar") (task:errors:rate10s{job="s"})"#,
    ),
    (r#"topk(5, task:errors:rate10s{job="s"})"#, r#"topk(5, task:errors:rate10s{job="s"})"#),
    (
        r#"count_values("value", task:errors:rate10s{job="s"})"#,
        r#"count_values("value", task:errors:rate10s{job="s"})"#,
    ),
    ("a - on() c", "a - on () c"),
    ("a - on(b) c", "a - on (b) c"),
    ("a - on(b) group_left(x) c", "a - on (b) group_left (x) c"),
    ("a - on(b) group_left(x, y) c", "a - on (b) group_left (x, y) c"),
    ("a - on(b) group_left c", "a - on (b) group_left () c"),
    ("a - on(b) group_left() (c)", "a - on (b) group_left () (c)"),
    ("a - ignoring(b) c", "a - ignoring (b) c"),
    ("a - ignoring() c", "a - c"),
    ("a - ignoring() group_left c", "a - ignoring () group_left () c"),
    ("a + fill(-23) b", "a + fill (-23) b"),
    ("a + fill_left(-23) b", "a + fill_left (-23) b"),
    ("a + fill_right(42) b", "a + fill_right (42) b"),
    ("a + fill_left(-23) fill_right(42) b", "a + fill_left (-23) fill_right (42) b"),
    ("a + fill_left(5) fill_right(5) b", "a + fill (5) b"),
    ("a + on(b) group_left fill(-23) c", "a + on (b) group_left () fill (-23) c"),
    ("up > bool 0", "up > bool 0"),
    ("a offset 1m", "a offset 1m"),
    ("a offset -7m", "a offset -7m"),
    (r#"a{c="d"}[5m] offset 1m"#, r#"a{c="d"}[5m] offset 1m"#),
    ("a[5m] offset 1m", "a[5m] offset 1m"),
    ("a[12m] offset -3m", "a[12m] offset -3m"),
    ("a[1h:5m] offset 1m", "a[1h:5m] offset 1m"),
    ("a anchored", "a anchored"),
    ("a[5m] anchored", "a[5m] anchored"),
    (r#"a{b="c"}[5m] anchored"#, r#"a{b="c"}[5m] anchored"#),
    (r#"a{b="c"}[5m] anchored offset 1m"#, r#"a{b="c"}[5m] anchored offset 1m"#),
    (r#"a{b="c"}[5m] anchored @ start() offset 1m"#, r#"a{b="c"}[5m] anchored @ start() offset 1m"#),
    ("a smoothed", "a smoothed"),
    ("a[5m] smoothed", "a[5m] smoothed"),
    (r#"a{b="c"}[5m] smoothed"#, r#"a{b="c"}[5m] smoothed"#),
    (r#"a{b="c"}[5m] smoothed offset 1m"#, r#"a{b="c"}[5m] smoothed offset 1m"#),
    (r#"a{b="c"}[5m] smoothed @ start() offset 1m"#, r#"a{b="c"}[5m] smoothed @ start() offset 1m"#),
    (r#"{__name__="a"}"#, r#"{__name__="a"}"#),
    (r#"a{b!="c"}[1m]"#, r#"a{b!="c"}[1m]"#),
    (r#"a{b=~"c"}[1m]"#, r#"a{b=~"c"}[1m]"#),
    (r#"a{b!~"c"}[1m]"#, r#"a{b!~"c"}[1m]"#),
    ("a @ 10", "a @ 10.000"),
    ("a[1m] @ 10", "a[1m] @ 10.000"),
    ("a @ start()", "a @ start()"),
    ("a @ end()", "a @ end()"),
    ("a[1m] @ start()", "a[1m] @ start()"),
    ("a[1m] @ end()", "a[1m] @ end()"),
    (r#"{__name__="",a="x"}"#, r#"{__name__="",a="x"}"#),
    (r#"{"a.b"="c"}"#, r#"{"a.b"="c"}"#),
    (r#"{"0"="1"}"#, r#"{"0"="1"}"#),
    (r#"{"_0"="1"}"#, r#"{_0="1"}"#),
    (r#"{""="0"}"#, r#"{""="0"}"#),
    (r#"{``="0"}"#, r#"{""="0"}"#),
    ("1048576", "1048576"),
    ("foo[step()]", "foo[step()]"),
    ("foo[-step()]", "foo[-step()]"),
    ("foo[(step())]", "foo[(step())]"),
    ("foo[-(step())]", "foo[-(step())]"),
    ("foo offset +(5)", "foo offset (5)"),
    ("foo offset -(5)", "foo offset -(5)"),
    ("foo offset (5)", "foo offset (5)"),
    ("foo offset (5m)", "foo offset (5m)"),
    ("foo[(5s)]", "foo[(5s)]"),
    ("foo[(5m):(1m)]", "foo[(5m):(1m)]"),
    ("foo offset step()", "foo offset step()"),
    ("foo offset -step()", "foo offset -step()"),
    ("foo offset (step())", "foo offset (step())"),
    ("foo offset -(step())", "foo offset -(step())"),
    ("foo offset +min_of(10s, 20s)", "foo offset min_of(10s, 20s)"),
    ("foo offset -min_of(10s, 20s)", "foo offset -min_of(10s, 20s)"),
    ("foo offset -min_of(10s, +max_of(step() ^ 2, 2))", "foo offset -min_of(10s, max_of(step() ^ 2, 2))"),
    ("foo[200-min_of(-step()^+step(),1)]", "foo[200 - min_of(-step() ^ step(), 1)]"),
    (
        "foo[200 - min_of(step() + 10s, -max_of(step() ^ 2, 3))]",
        "foo[200 - min_of(step() + 10s, -max_of(step() ^ 2, 3))]",
    ),
    ("foo[range()]", "foo[range()]"),
    ("foo[-range()]", "foo[-range()]"),
    ("foo offset range()", "foo offset range()"),
    ("foo offset -range()", "foo offset -range()"),
    ("foo[max_of(range(), 5s)]", "foo[max_of(range(), 5s)]"),
    ("predict_linear(foo[1h], 3000)", "predict_linear(foo[1h], 3000)"),
    (r#"sum by("üüü") (foo)"#, r#"sum by ("üüü") (foo)"#),
    (r#"sum without("äää") (foo)"#, r#"sum without ("äää") (foo)"#),
    (r#"count by("ööö", job) (foo)"#, r#"count by ("ööö", job) (foo)"#),
];

/// Expression and how it is split where no line may be longer than ten bytes.
pub(super) const SPLIT: &[(&str, &str)] = &[
    ("sum(foo)", "sum(foo)"),
    (
        r#"sum by() (task:errors:rate10s{job="s"})"#,
        r#"sum(
  task:errors:rate10s{job="s"}
)"#,
    ),
    (
        r#"sum without(job,foo) (task:errors:rate10s{job="s"})"#,
        r#"sum without (job, foo) (
  task:errors:rate10s{job="s"}
)"#,
    ),
    (
        r#"sum(task:errors:rate10s{job="s"}) without(job,foo)"#,
        r#"sum without (job, foo) (
  task:errors:rate10s{job="s"}
)"#,
    ),
    (
        r#"sum by(job,foo) (task:errors:rate10s{job="s"})"#,
        r#"sum by (job, foo) (
  task:errors:rate10s{job="s"}
)"#,
    ),
    (
        r#"sum (task:errors:rate10s{job="s"}) by(job,foo)"#,
        r#"sum by (job, foo) (
  task:errors:rate10s{job="s"}
)"#,
    ),
    (
        r#"topk(10, ask:errors:rate10s{job="s"})"#,
        r#"topk(
  10,
  ask:errors:rate10s{job="s"}
)"#,
    ),
    (
        r#"sum by(job,foo) (sum by(job,foo) (task:errors:rate10s{job="s"}))"#,
        r#"sum by (job, foo) (
  sum by (job, foo) (
    task:errors:rate10s{job="s"}
  )
)"#,
    ),
    (
        r#"sum by(job,foo) (sum by(job,foo) (sum by(job,foo) (task:errors:rate10s{job="s"})))"#,
        r#"sum by (job, foo) (
  sum by (job, foo) (
    sum by (job, foo) (
      task:errors:rate10s{job="s"}
    )
  )
)"#,
    ),
    (
        r#"sum by(job,foo)
(sum by(job,foo) (task:errors:rate10s{job="s"}))"#,
        r#"sum by (job, foo) (
  sum by (job, foo) (
    task:errors:rate10s{job="s"}
  )
)"#,
    ),
    (
        r#"sum by(job,foo)
(sum(task:errors:rate10s{job="s"}) without(job,foo))"#,
        r#"sum by (job, foo) (
  sum without (job, foo) (
    task:errors:rate10s{job="s"}
  )
)"#,
    ),
    (
        r#"sum by(job,foo) # Comment 1.
(sum by(job,foo) ( # Comment 2.
task:errors:rate10s{job="s"}))"#,
        r#"sum by (job, foo) (
  sum by (job, foo) (
    task:errors:rate10s{job="s"}
  )
)"#,
    ),
    ("a+b", "a + b"),
    (
        "a == bool 1",
        r#"  a
== bool
  1"#,
    ),
    (
        "a + ignoring(job) b",
        r#"  a
+ ignoring (job)
  b"#,
    ),
    (
        "foo_1 + foo_2",
        r#"  foo_1
+
  foo_2"#,
    ),
    (
        "foo_1 + foo_2 + foo_3",
        r#"    foo_1
  +
    foo_2
+
  foo_3"#,
    ),
    (
        "foo + baar + foo_3",
        r#"  foo + baar
+
  foo_3"#,
    ),
    (
        "foo_1 + foo_2 + foo_3 + foo_4",
        r#"      foo_1
    +
      foo_2
  +
    foo_3
+
  foo_4"#,
    ),
    (
        "foo_1 + ignoring(foo) foo_2 + ignoring(job) group_left foo_3 + on(instance) group_right foo_4",
        r#"      foo_1
    + ignoring (foo)
      foo_2
  + ignoring (job) group_left ()
    foo_3
+ on (instance) group_right ()
  foo_4"#,
    ),
    (
        "rate(foo[1m])",
        r#"rate(
  foo[1m]
)"#,
    ),
    (
        "sum_over_time(foo[1m])",
        r#"sum_over_time(
  foo[1m]
)"#,
    ),
    (
        "rate(long_vector_selector[10m:1m] @ start() offset 1m)",
        r#"rate(
  long_vector_selector[10m:1m] @ start() offset 1m
)"#,
    ),
    (
        "histogram_quantile(0.9, rate(foo[1m]))",
        r#"histogram_quantile(
  0.9,
  rate(
    foo[1m]
  )
)"#,
    ),
    (
        "max_over_time(rate(demo_api_request_duration_seconds_count[1m])[1m:] @ start() offset 1m)",
        r#"max_over_time(
  rate(
    demo_api_request_duration_seconds_count[1m]
  )[1m:] @ start() offset 1m
)"#,
    ),
    (
        r#"label_replace(up{job="api-server",service="a:c"}, "foo", "$1", "service", "(.*):.*")"#,
        r#"label_replace(
  up{job="api-server",service="a:c"},
  "foo",
  "$1",
  "service",
  "(.*):.*"
)"#,
    ),
    (
        r#"label_replace(label_replace(up{job="api-server",service="a:c"}, "foo", "$1", "service", "(.*):.*"), "foo", "$1", "service", "(.*):.*")"#,
        r#"label_replace(
  label_replace(
    up{job="api-server",service="a:c"},
    "foo",
    "$1",
    "service",
    "(.*):.*"
  ),
  "foo",
  "$1",
  "service",
  "(.*):.*"
)"#,
    ),
    ("(foo)", "(foo)"),
    (
        "(_foo_long_)",
        r#"(
  _foo_long_
)"#,
    ),
    (
        "((foo_long))",
        r#"(
  (foo_long)
)"#,
    ),
    (
        "((_foo_long_))",
        r#"(
  (
    _foo_long_
  )
)"#,
    ),
    (
        "(((foo_long)))",
        r#"(
  (
    (foo_long)
  )
)"#,
    ),
    ("a @ 1", "a @ 1.000"),
    ("a @ start()", "a @ start()"),
    ("vector_selector @ start()", "vector_selector @ start()"),
    ("(1 + 2)", "(1 + 2)"),
    (
        "(foo + bar)",
        r#"(
  foo + bar
)"#,
    ),
    (
        "(foo_long + bar_long)",
        r#"(
    foo_long
  +
    bar_long
)"#,
    ),
    (
        "(foo_long + bar_long + bar_2_long)",
        r#"(
      foo_long
    +
      bar_long
  +
    bar_2_long
)"#,
    ),
    (
        "((foo_long + bar_long) + bar_2_long)",
        r#"(
    (
        foo_long
      +
        bar_long
    )
  +
    bar_2_long
)"#,
    ),
    (
        "(1111 + 2222)",
        r#"(
    1111
  +
    2222
)"#,
    ),
    (
        "(sum_over_time(foo[1m]))",
        r#"(
  sum_over_time(
    foo[1m]
  )
)"#,
    ),
    (
        "histogram_quantile(0.9, rate(foo[1m] @ start()))",
        r#"histogram_quantile(
  0.9,
  rate(
    foo[1m] @ start()
  )
)"#,
    ),
    (
        r#"(label_replace(up{job="api-server",service="a:c"}, "foo", "$1", "service", "(.*):.*"))"#,
        r#"(
  label_replace(
    up{job="api-server",service="a:c"},
    "foo",
    "$1",
    "service",
    "(.*):.*"
  )
)"#,
    ),
    (
        r#"(label_replace(label_replace(up{job="api-server",service="a:c"}, "foo", "$1", "service", "(.*):.*"), "foo", "$1", "service", "(.*):.*"))"#,
        r#"(
  label_replace(
    label_replace(
      up{job="api-server",service="a:c"},
      "foo",
      "$1",
      "service",
      "(.*):.*"
    ),
    "foo",
    "$1",
    "service",
    "(.*):.*"
  )
)"#,
    ),
    (
        r#"(label_replace(label_replace((up{job="api-server",service="a:c"}), "foo", "$1", "service", "(.*):.*"), "foo", "$1", "service", "(.*):.*"))"#,
        r#"(
  label_replace(
    label_replace(
      (
        up{job="api-server",service="a:c"}
      ),
      "foo",
      "$1",
      "service",
      "(.*):.*"
    ),
    "foo",
    "$1",
    "service",
    "(.*):.*"
  )
)"#,
    ),
    (
        r#"(node_filesystem_avail_bytes{job="node",fstype!=""} / node_filesystem_size_bytes{job="node",fstype!=""} * 100 < 40 and predict_linear(node_filesystem_avail_bytes{job="node",fstype!=""}[6h], 24*60*60) < 0 and node_filesystem_readonly{job="node",fstype!=""} == 0)"#,
        r#"(
            node_filesystem_avail_bytes{fstype!="",job="node"}
          /
            node_filesystem_size_bytes{fstype!="",job="node"}
        *
          100
      <
        40
    and
        predict_linear(
          node_filesystem_avail_bytes{fstype!="",job="node"}[6h],
            24 * 60
          *
            60
        )
      <
        0
  and
      node_filesystem_readonly{fstype!="",job="node"}
    ==
      0
)"#,
    ),
    (
        r#"(node_filesystem_avail_bytes{job="node",fstype!=""} / node_filesystem_size_bytes{job="node",fstype!=""} * 100 < 20 and predict_linear(node_filesystem_avail_bytes{job="node",fstype!=""}[6h], 4*60*60) < 0 and node_filesystem_readonly{job="node",fstype!=""} == 0)"#,
        r#"(
            node_filesystem_avail_bytes{fstype!="",job="node"}
          /
            node_filesystem_size_bytes{fstype!="",job="node"}
        *
          100
      <
        20
    and
        predict_linear(
          node_filesystem_avail_bytes{fstype!="",job="node"}[6h],
            4 * 60
          *
            60
        )
      <
        0
  and
      node_filesystem_readonly{fstype!="",job="node"}
    ==
      0
)"#,
    ),
    (
        "(node_timex_offset_seconds > 0.05 and deriv(node_timex_offset_seconds[5m]) >= 0) or (node_timex_offset_seconds < -0.05 and deriv(node_timex_offset_seconds[5m]) <= 0)",
        r#"  (
        node_timex_offset_seconds
      >
        0.05
    and
        deriv(
          node_timex_offset_seconds[5m]
        )
      >=
        0
  )
or
  (
        node_timex_offset_seconds
      <
        -0.05
    and
        deriv(
          node_timex_offset_seconds[5m]
        )
      <=
        0
  )"#,
    ),
    (
        r#"1 - ((node_memory_MemAvailable_bytes{job="node"} or (node_memory_Buffers_bytes{job="node"} + node_memory_Cached_bytes{job="node"} + node_memory_MemFree_bytes{job="node"} + node_memory_Slab_bytes{job="node"}) ) / node_memory_MemTotal_bytes{job="node"})"#,
        r#"  1
-
  (
      (
          node_memory_MemAvailable_bytes{job="node"}
        or
          (
                  node_memory_Buffers_bytes{job="node"}
                +
                  node_memory_Cached_bytes{job="node"}
              +
                node_memory_MemFree_bytes{job="node"}
            +
              node_memory_Slab_bytes{job="node"}
          )
      )
    /
      node_memory_MemTotal_bytes{job="node"}
  )"#,
    ),
    (
        r#"min by (job, integration) (rate(alertmanager_notifications_failed_total{job="alertmanager", integration=~".*"}[5m]) / rate(alertmanager_notifications_total{job="alertmanager", integration="~.*"}[5m])) > 0.01"#,
        r#"  min by (job, integration) (
      rate(
        alertmanager_notifications_failed_total{integration=~".*",job="alertmanager"}[5m]
      )
    /
      rate(
        alertmanager_notifications_total{integration="~.*",job="alertmanager"}[5m]
      )
  )
>
  0.01"#,
    ),
    (
        r#"(count by (job) (changes(process_start_time_seconds{job="alertmanager"}[10m]) > 4) / count by (job) (up{job="alertmanager"})) >= 0.5"#,
        r#"  (
      count by (job) (
          changes(
            process_start_time_seconds{job="alertmanager"}[10m]
          )
        >
          4
      )
    /
      count by (job) (
        up{job="alertmanager"}
      )
  )
>=
  0.5"#,
    ),
    ("-1", "-1"),
    ("-vector_selector", "-vector_selector"),
    (
        "(-vector_selector)",
        r#"(
  -vector_selector
)"#,
    ),
    (
        "-histogram_quantile(0.9,rate(foo[1m]))",
        r#"-histogram_quantile(
  0.9,
  rate(
    foo[1m]
  )
)"#,
    ),
    (
        "-histogram_quantile(0.99, sum by (le) (rate(foo[1m])))",
        r#"-histogram_quantile(
  0.99,
  sum by (le) (
    rate(
      foo[1m]
    )
  )
)"#,
    ),
    (
        "-histogram_quantile(0.9, -rate(foo[1m] @ start()))",
        r#"-histogram_quantile(
  0.9,
  -rate(
    foo[1m] @ start()
  )
)"#,
    ),
    (
        "(-histogram_quantile(0.9, -rate(foo[1m] @ start())))",
        r#"(
  -histogram_quantile(
    0.9,
    -rate(
      foo[1m] @ start()
    )
  )
)"#,
    ),
    (
        "rate(foo[2*1h])",
        r#"rate(
  foo[2 * 1h]
)"#,
    ),
    (
        "rate(foo[2*1h])",
        r#"rate(
  foo[2 * 1h]
)"#,
    ),
    (
        "rate(foo[-5m+35m])",
        r#"rate(
  foo[-5m + 35m]
)"#,
    ),
];
