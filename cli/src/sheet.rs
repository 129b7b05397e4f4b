//! A grid as a spreadsheet (.xlsx), with a chart.

use ondol_conformance::profile::grid::{COLUMNS, DEFINITIONS, Grid, Value, rows};
use rust_xlsxwriter::{
    Chart, ChartType, DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError,
};

/// Columns of the chart: model, precision and lengths name a bar, whose height is the median
/// of tokens per second.
const NAMES: [u16; 2] = [0, 3];
const SPEED: u16 = 17;

/// The bytes of the file.
pub fn of_grid(grid: &Grid) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    // The same grid makes the same bytes; the date of the run is in the sheet.
    let no_date = ExcelDateTime::from_ymd(2000, 1, 1)?;
    book.set_properties(&DocProperties::new().set_creation_datetime(&no_date));
    results(book.add_worksheet(), grid)?;
    conditions(book.add_worksheet(), grid)?;
    book.save_to_buffer()
}

fn results(sheet: &mut Worksheet, grid: &Grid) -> Result<(), XlsxError> {
    sheet.set_name("결과 Results")?;
    let head = Format::new().set_bold().set_text_wrap();
    for (column, (en, ko)) in (0..).zip(COLUMNS) {
        sheet.write_with_format(0, column, format!("{ko}\n{en}"), &head)?;
    }
    for (at, row) in (1..).zip(rows(grid)) {
        for (column, value) in (0..).zip(row) {
            match value {
                Value::Text(text) => sheet.write(at, column, text)?,
                Value::Number(Some(number)) => sheet.write(at, column, number)?,
                Value::Number(None) => sheet.write(at, column, "—")?,
            };
        }
    }
    sheet.set_freeze_panes(1, 4)?;
    sheet.autofit();
    let last = grid.cells.len() as u32;
    sheet.insert_chart(last + 2, 0, &speeds(last))?;
    Ok(())
}

/// A bar chart of the tokens per second of every cell.
fn speeds(last: u32) -> Chart {
    let sheet = "결과 Results";
    let mut chart = Chart::new(ChartType::Column);
    chart
        .add_series()
        .set_name("초당 토큰 수 p50 · Tokens/s p50")
        .set_categories((sheet, 1, NAMES[0], last, NAMES[1]))
        .set_values((sheet, 1, SPEED, last, SPEED));
    chart.title().set_name("초당 토큰 수 · Tokens per second");
    chart
}

/// What the figures mean, and where they were measured.
fn conditions(sheet: &mut Worksheet, grid: &Grid) -> Result<(), XlsxError> {
    sheet.set_name("조건 Conditions")?;
    let setting = &grid.setting;
    let (notice, host) = (&grid.notice, &setting.host);
    let computed_on = match &setting.device {
        Some(device) => format!("{} {} ({})", device.vendor, device.device, device.label),
        None => host.cpu.clone(),
    };
    let meter = grid.meter.as_ref().map_or("—".to_owned(), |meter| {
        format!("{}, {} W", meter.name, meter.idle_watts)
    });
    let mut lines = vec![
        ("안내 Notice", notice.ko.clone()),
        ("", notice.en.clone()),
        ("정의 Definitions", DEFINITIONS.1.to_owned()),
        ("", DEFINITIONS.0.to_owned()),
        ("신청 기관 Applicant", String::new()),
        ("시험 담당자 Tester", String::new()),
        ("장치 일련번호 Serial number", String::new()),
        ("시험 일시(KST) Date", setting.created.clone()),
        ("연산 장치 Computed on", computed_on),
        (
            "CPU",
            format!("{}, {} threads, {}", host.cpu, host.threads, host.kernels),
        ),
        (
            "운영체제 System",
            format!("{}, {}", host.system, host.os_kernel),
        ),
        ("메모리 Memory (bytes)", host.memory.to_string()),
        ("주파수 조절 정책 Governor", host.governor.clone()),
        ("계측기·유휴 전력 Meter, idle", meter),
        ("Ondol", format!("{} {}", setting.ondol, setting.commit)),
        ("프로그램 Program SHA-256", setting.program_sha256.clone()),
        ("실행 명령 Command", setting.command.join(" ")),
    ];
    for measured in &grid.models {
        let model = &measured.model;
        let text = format!(
            "{} ({}) {}",
            model.name,
            measured.precision,
            model.sha256.join(" ")
        );
        lines.push(("모델 Model, SHA-256", text));
    }
    let (head, wrap) = (Format::new().set_bold(), Format::new().set_text_wrap());
    for (at, (name, text)) in (0..).zip(lines) {
        sheet.write_with_format(at, 0, name, &head)?;
        sheet.write_with_format(at, 1, text, &wrap)?;
    }
    sheet.set_column_width(0, 32)?;
    sheet.set_column_width(1, 100)?;
    Ok(())
}
