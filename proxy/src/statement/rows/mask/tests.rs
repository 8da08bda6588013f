//! Every logical type in every physical encoding the account uses, under every mask: the same type, the same value as
//! the JSON cell masks to, and nothing of what was there.

use std::collections::HashMap;
use std::sync::Mutex;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    LargeBinaryArray, LargeStringArray, ListArray, MapArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use policy::document::{MaskMethod, TruncateUnit};
use snowflake::rows::{Layout, columns, mask_rowset, mask_stream};

use super::*;

/// One logical type in one encoding: two values and a NULL, and the cells that JSON has for them.
struct Encoding {
    word: &'static str,
    scale: u32,
    structured: bool,
    array: ArrayRef,
    cells: [&'static str; 2],
}

fn plain(
    word: &'static str,
    scale: u32,
    array: impl Array + 'static,
    cells: [&'static str; 2],
) -> Encoding {
    Encoding { word, scale, structured: false, array: Arc::new(array), cells }
}

fn nested(word: &'static str, array: impl Array + 'static, cells: [&'static str; 2]) -> Encoding {
    Encoding { structured: true, ..plain(word, 0, array, cells) }
}

fn parts(children: Vec<(&str, ArrayRef)>) -> StructArray {
    let fields: Vec<Field> = children
        .iter()
        .map(|(name, child)| Field::new(*name, child.data_type().clone(), true))
        .collect();
    let children = children.into_iter().map(|(_, child)| child).collect();
    StructArray::new(fields.into(), children, Some(NullBuffer::from(vec![true, true, false])))
}

fn longs(one: i64, two: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![one, two, 0]))
}

fn ints(one: i32, two: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![one, two, 0]))
}

fn encodings() -> Vec<Encoding> {
    const TEXT: [&str; 2] = ["secret-ann@example.com", "4111-secret-1234"];
    const JSON: [&str; 2] = [r#"{"k": "secret"}"#, r#"["secret"]"#];
    let texts =
        |cells: [&'static str; 2]| StringArray::from(vec![Some(cells[0]), Some(cells[1]), None]);
    let decimal = |one: i128, two: i128, scale| {
        Decimal128Array::from(vec![Some(one), Some(two), None])
            .with_precision_and_scale(38, scale)
            .unwrap()
    };
    let instants =
        || vec![("epoch", longs(1_717_243_496, -2)), ("fraction", ints(123_456_789, 500_000_000))];
    let zones = || ("timezone", ints(1_560, 1_380));
    let instant = ["1717243496.123456789", "-1.500000000"];
    let zoned = ["1717243496.123456789 1560", "-1.500000000 1380"];
    let bytes = [Some(&b"\x01secret"[..]), Some(b"secret"), None];
    let hex = ["01736563726574", "736563726574"];
    let item = || Arc::new(Field::new("item", DataType::Utf8, true));
    let last = || Some(NullBuffer::from(vec![true, true, false]));
    let secrets = StringArray::from(vec!["secret", "secret"]);
    let offsets = || OffsetBuffer::from_lengths([1, 1, 0]);
    let entries = StructArray::new(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]
            .into(),
        vec![Arc::new(secrets.clone()) as ArrayRef, Arc::new(secrets.clone())],
        None,
    );
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let vector = |child: ArrayRef| {
        let item = Arc::new(Field::new("item", child.data_type().clone(), true));
        FixedSizeListArray::new(item, 2, child, last())
    };
    let numbers: ArrayRef = Arc::new(Float32Array::from(vec![1.5; 6]));
    let significand: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\x30\x39"[..], b"\x01", b""]));
    let dictionary: DictionaryArray<Int32Type> =
        [Some(TEXT[0]), Some(TEXT[1]), None].into_iter().collect();
    vec![
        plain("fixed", 0, Int8Array::from(vec![Some(-5), Some(127), None]), ["-5", "127"]),
        plain("fixed", 1, Int16Array::from(vec![Some(1_500), Some(-7), None]), ["150.0", "-0.7"]),
        plain(
            "fixed",
            2,
            Int32Array::from(vec![Some(150_001), Some(-1), None]),
            ["1500.01", "-0.01"],
        ),
        plain(
            "fixed",
            0,
            Int64Array::from(vec![Some(i64::MIN), Some(1_234), None]),
            ["-9223372036854775808", "1234"],
        ),
        plain(
            "fixed",
            0,
            decimal(10_i128.pow(37), -55, 0),
            ["10000000000000000000000000000000000000", "-55"],
        ),
        plain("fixed", 3, decimal(123_456, -55, 3), ["123.456", "-0.055"]),
        plain(
            "real",
            0,
            Float64Array::from(vec![Some(1234.5), Some(f64::INFINITY), None]),
            ["1234.5", "inf"],
        ),
        plain("text", 0, texts(TEXT), TEXT),
        plain("text", 0, LargeStringArray::from(vec![Some(TEXT[0]), Some(TEXT[1]), None]), TEXT),
        plain("text", 0, dictionary, TEXT),
        plain("boolean", 0, BooleanArray::from(vec![Some(true), Some(false), None]), ["1", "0"]),
        plain("date", 0, Date32Array::from(vec![Some(19_876), Some(-1), None]), ["19876", "-1"]),
        plain(
            "time",
            3,
            Int32Array::from(vec![Some(45_296_123), Some(1), None]),
            ["45296.123", "0.001"],
        ),
        plain(
            "time",
            9,
            Int64Array::from(vec![Some(45_296_123_456_789), Some(1), None]),
            ["45296.123456789", "0.000000001"],
        ),
        plain(
            "timestamp_ntz",
            3,
            Int64Array::from(vec![Some(1_717_243_496_123), Some(-1_500), None]),
            ["1717243496.123", "-1.500"],
        ),
        plain(
            "timestamp_ltz",
            0,
            Int64Array::from(vec![Some(1_717_243_496), Some(-2), None]),
            ["1717243496", "-2"],
        ),
        plain("timestamp_ntz", 9, parts(instants()), instant),
        plain("timestamp_ltz", 9, parts(instants()), instant),
        plain("timestamp_tz", 9, parts(instants().into_iter().chain([zones()]).collect()), zoned),
        plain(
            "timestamp_tz",
            3,
            parts(vec![("epoch", longs(1_717_243_496_123, -1_500)), zones()]),
            ["1717243496.123 1560", "-1.500 1380"],
        ),
        plain("binary", 0, BinaryArray::from_iter(bytes), hex),
        plain("binary", 0, LargeBinaryArray::from_iter(bytes), hex),
        plain("variant", 0, texts(JSON), JSON),
        plain("object", 0, texts(JSON), JSON),
        plain("array", 0, texts(JSON), JSON),
        plain("map", 0, texts(JSON), JSON),
        nested("object", parts(vec![("a", Arc::new(texts(TEXT)) as ArrayRef)]), JSON),
        nested("array", ListArray::new(item(), offsets(), Arc::new(secrets), last()), JSON),
        nested("map", MapArray::new(entry, offsets(), entries, last(), false), JSON),
        plain("vector", 0, vector(numbers), ["[1.5,1.5]", "[1.5,1.5]"]),
        plain("vector", 0, vector(Arc::new(Int32Array::from(vec![7; 6]))), ["[7,7]", "[7,7]"]),
        plain(
            "interval_year_month",
            0,
            Int64Array::from(vec![Some(14), Some(1), None]),
            ["14", "1"],
        ),
        plain("interval_day_time", 0, decimal(86_400, 1, 0), ["86400", "1"]),
        plain(
            "decfloat",
            0,
            parts(vec![
                ("exponent", Arc::new(Int16Array::from(vec![-2, 0, 0])) as ArrayRef),
                ("significand", significand),
            ]),
            ["123.45", "1"],
        ),
        plain("file", 0, texts(JSON), JSON),
        plain("geography", 0, texts(TEXT), TEXT),
        plain("geometry", 0, texts(TEXT), TEXT),
    ]
}

fn methods() -> Vec<(MaskMethod, bool)> {
    vec![
        (MaskMethod::Null, false),
        (MaskMethod::Full, false),
        (MaskMethod::Partial { keep_first: 1, keep_last: 2 }, false),
        (MaskMethod::Hash { domain: None }, false),
        (MaskMethod::Email, false),
        (MaskMethod::Truncate { unit: TruncateUnit::Month }, false),
        (MaskMethod::Bucket { width: 10 }, false),
        (MaskMethod::Full, true),
        (MaskMethod::Null, true),
    ]
}

/// Sees the values of a column, whichever way they travel.
#[derive(Default)]
struct Seen(Mutex<Vec<Value<'static>>>);

impl Mask for Seen {
    fn apply<'a>(&self, _: &Column, value: Value<'a>) -> Value<'a> {
        let own = match borrowed(&value) {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Binary(bytes) => Value::Binary(Cow::Owned(bytes.into_owned())),
            Value::Null => Value::Null,
            Value::Fixed(number) => Value::Fixed(number),
            Value::Real(number) => Value::Real(number),
            Value::Boolean(truth) => Value::Boolean(truth),
            Value::Date(days) => Value::Date(days),
            Value::Time(units) => Value::Time(units),
            Value::Timestamp { seconds, nanos, offset } => {
                Value::Timestamp { seconds, nanos, offset }
            }
        };
        self.0.lock().unwrap().push(own);
        value
    }
}

fn stream(field: &Field, array: &ArrayRef) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![Arc::clone(array)]).unwrap()).unwrap();
    writer.into_inner().unwrap()
}

fn read(bytes: &[u8]) -> (Field, ArrayRef) {
    let mut reader = StreamReader::try_new(bytes, None).unwrap();
    let field = reader.schema().field(0).clone();
    (field, Arc::clone(reader.next().unwrap().unwrap().column(0)))
}

/// The type that a masked array has: no dictionary, and integers of one width.
fn expected_type(word: &str, before: &DataType) -> DataType {
    match before {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 if word == "fixed" => DataType::Int64,
        other => other.clone(),
    }
}

#[test]
fn every_encoding_under_every_mask_keeps_its_type_and_shows_what_json_shows() {
    let key = policy::MaskKey::new(&[7; 32]);
    for Encoding { word, scale, structured, array, cells } in encodings() {
        for nullable in [true, false] {
            let (array, cells) = if nullable {
                (Arc::clone(&array), vec![Some(cells[0]), Some(cells[1]), None])
            } else {
                (array.slice(0, 2), vec![Some(cells[0]), Some(cells[1])])
            };
            let metadata = HashMap::from([
                ("logicalType".to_owned(), word.to_ascii_uppercase()),
                ("scale".to_owned(), scale.to_string()),
            ]);
            let field =
                Field::new("C", array.data_type().clone(), nullable).with_metadata(metadata);
            let rowtype = serde_json::json!([{
                "name": "C", "type": word, "precision": 38, "scale": scale, "nullable": nullable,
                "fields": structured.then(|| serde_json::json!([])),
            }]);
            let columns = columns(&rowtype.to_string()).unwrap();
            let bytes = stream(&field, &array);
            let rows: Vec<Vec<Option<&str>>> = cells.iter().map(|cell| vec![*cell]).collect();
            let rows = serde_json::to_vec(&rows).unwrap();
            for (method, derived) in methods() {
                let what = format!("{word} {} {method:?} {derived} {nullable}", array.data_type());
                let mask = policy::Mask { method, domain: "D".into(), derived };
                let mut layout = Layout::plain(columns.clone());
                layout.masks[0] = Some(Arc::new(ColumnMask::new(mask, key.clone(), &columns[0])));
                let in_arrow = mask_stream(&bytes, &layout).unwrap();
                let in_json = mask_rowset(&rows, &layout).unwrap();
                assert_eq!(in_arrow.masked_cells, in_json.masked_cells, "{what}");

                let (after, masked) = read(&in_arrow.bytes);
                assert_eq!(after.data_type(), &expected_type(word, array.data_type()), "{what}");
                assert_eq!((after.name(), after.metadata()), (field.name(), field.metadata()));
                assert!(after.is_nullable(), "{what}");
                assert_eq!(masked.len(), array.len(), "{what}");
                assert!(derived || !nullable || masked.is_null(2), "{what}");
                for shown in [&in_arrow.bytes, &in_json.bytes] {
                    assert!(!String::from_utf8_lossy(shown).contains("secret"), "{what}");
                }

                let (arrow, json) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
                layout.masks[0] = Some(arrow.clone());
                mask_stream(&in_arrow.bytes, &layout).unwrap();
                layout.masks[0] = Some(json.clone());
                mask_rowset(&in_json.bytes, &layout).unwrap();
                let (arrow, json) = (arrow.0.lock().unwrap(), json.0.lock().unwrap());
                assert_eq!(*arrow, *json, "{what}");
                let nulls = arrow.iter().filter(|value| **value == Value::Null).count();
                assert_eq!(masked.null_count(), nulls, "{what}");
                if derived {
                    assert!(arrow.windows(2).all(|pair| pair[0] == pair[1]), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_detector_hides_the_same_cells_of_every_encoding_as_of_json() {
    const CELLS: [&str; 2] = ["ann@example.com", "nobody"];
    const CARD: f32 = 4_111_111_020_347_392.0;
    let detectors = r#"[{"name": "a/b", "generation": 1, "statements": {"allow": ["Select"]},
        "detectors": [{"find": ["EmailAddress", "CardNumber"]}]}]"#;
    let documents: Vec<policy::Document> = serde_json::from_str(detectors).unwrap();
    let policy = policy::Policy::compile(&documents, &policy::Ceiling::default());
    let session = sql::Session::default();
    let decision = policy.decide(&policy::Request {
        principal: &policy::Principal { human: None },
        analysis: &sql::analyze("select 1", &session, &sql::Catalog::default()),
        session: &session,
        describe_only: false,
    });
    let texts = StringArray::from(vec![Some(CELLS[0]), Some(CELLS[1]), None]);
    let dictionary: DictionaryArray<Int32Type> =
        [Some(CELLS[0]), Some(CELLS[1]), None].into_iter().collect();
    let number = 4_111_111_111_111_111;
    let digits = ["4111111111111111", "4111111111111112"];
    let decimal = |scale: i8| {
        let unit = 10_i128.pow(scale.unsigned_abs().into());
        Decimal128Array::from(vec![Some(number * unit), Some((number + 1) * unit), None])
            .with_precision_and_scale(38, scale)
            .unwrap()
    };
    let (one, two) = ((number * 100).to_be_bytes(), (number + 1).to_be_bytes());
    let significands: ArrayRef = Arc::new(BinaryArray::from(vec![&one[..], &two[4..], b""]));
    let exponents: ArrayRef = Arc::new(Int16Array::from(vec![-2, 0, 0]));
    let decfloat = parts(vec![("exponent", exponents), ("significand", significands)]);
    // A card that a float of 32 bits holds.
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let floats = Float32Array::from(vec![0.5, CARD, 0.5, 1.5, 0.0, 0.0]);
    let nulls = Some(NullBuffer::from(vec![true, true, false]));
    let vector = FixedSizeListArray::new(item, 2, Arc::new(floats), nulls);
    let number = i64::try_from(number).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let reals = Float64Array::from(vec![Some(number as f64), Some((number + 1) as f64), None]);
    for Encoding { word, scale, array, cells, .. } in [
        plain("text", 0, texts.clone(), CELLS),
        plain("text", 0, dictionary, CELLS),
        plain("variant", 0, texts.clone(), CELLS),
        plain("geography", 0, texts, CELLS),
        plain("fixed", 0, Int64Array::from(vec![Some(number), Some(number + 1), None]), digits),
        plain("fixed", 0, decimal(0), digits),
        plain("fixed", 2, decimal(2), ["4111111111111111.00", "4111111111111112.00"]),
        plain(
            "fixed",
            1,
            Int64Array::from(vec![Some(number * 10), Some(number * 10 + 11), None]),
            ["4111111111111111.0", "4111111111111112.1"],
        ),
        plain("decfloat", 0, decfloat, ["4.111111111111111E+15", "4111111111111112"]),
        plain("vector", 0, vector, ["[0.5,4111111020347392.0]", "[0.5, 1.5]"]),
        plain("real", 0, reals, ["4.111111111111111e15", "4.111111111111112e15"]),
        plain(
            "binary",
            0,
            BinaryArray::from_iter([Some(CELLS[0]), Some(CELLS[1]), None]),
            ["616E6E406578616D706C652E636F6D", "6E6F626F6479"],
        ),
    ] {
        let rowtype =
            serde_json::json!([{"name": "C", "type": word, "precision": 38, "scale": scale}]);
        let columns = columns(&rowtype.to_string()).unwrap();
        let mut layout = Layout::plain(columns.clone());
        layout.search = search(&decision.detectors, &columns);
        let field = Field::new("C", array.data_type().clone(), true);
        let in_arrow = mask_stream(&stream(&field, &array), &layout).unwrap();
        let rows = serde_json::to_vec(&[[Some(cells[0])], [Some(cells[1])], [None]]).unwrap();
        let in_json = mask_rowset(&rows, &layout).unwrap();
        assert_eq!((in_arrow.masked_cells, &in_arrow.found), (1, &in_json.found), "{word}");
        layout.search = None;
        let (arrow, json) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
        layout.masks[0] = Some(arrow.clone());
        mask_stream(&in_arrow.bytes, &layout).unwrap();
        layout.masks[0] = Some(json.clone());
        mask_rowset(&in_json.bytes, &layout).unwrap();
        assert_eq!(*arrow.0.lock().unwrap(), *json.0.lock().unwrap(), "{word}");
    }

    // What cannot hold anything is not searched, and where nothing is looked for nothing is taken apart.
    for word in ["date", "time", "boolean", "timestamp_tz", "interval_year_month"] {
        let rowtype = serde_json::json!([{"name": "C", "type": word, "precision": 38, "scale": 0}]);
        let columns = columns(&rowtype.to_string()).unwrap();
        assert!(search(&decision.detectors, &columns).is_none(), "{word}");
    }
    assert!(search(&Detection::default(), &[]).is_none());
}
